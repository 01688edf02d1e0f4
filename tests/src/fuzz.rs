//! What each parser must do with any bytes whatever. Owns the properties; `fuzz/` feeds them from libFuzzer, the proof
//! `corpus` from the kept inputs and random changes of them. A panic is the only way to fail.

use std::sync::Arc;

use selvedge_build::import::{self, BadModel};
use selvedge_build::pipeline::compile::{self, CompileError, Options};
use selvedge_build::pipeline::{OutputKind, Pipeline, calibrate, reference};
use selvedge_build::sidecar::Sidecar;
use selvedge_build::{module, release, rules};
use selvedge_decision::Manifest;
use selvedge_decision::layout::{FeatureKind, RowLayout};
use selvedge_decision::manifest::Scope;
use selvedge_node::decide::{Batch, Wire};
use selvedge_node::events;
use selvedge_node::features::row::RowReader;
use selvedge_node::features::row::binary::{self, BinaryWriter, SchemaHash};
use selvedge_node::features::{SymbolLimits, Symbols};
use selvedge_node::outbox::block;

use crate::prove::{Native, same};

/// A parser that takes bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Feeds it; panics when a property does not hold.
    pub feed: fn(&[u8]),
}

/// Every target.
pub const ALL: [Target; 16] = [
    Target { name: "request", feed: request },
    Target { name: "events", feed: events },
    Target { name: "row", feed: row_of_features },
    Target { name: "manifest", feed: manifest },
    Target { name: "module", feed: module },
    Target { name: "release", feed: release },
    Target { name: "block", feed: block },
    Target { name: "rules", feed: rules },
    Target { name: "pipeline", feed: pipeline },
    Target { name: "rules_tests", feed: rules_tests },
    Target { name: "sidecar", feed: sidecar },
    Target { name: "xgboost", feed: xgboost },
    Target { name: "lightgbm", feed: lightgbm },
    Target { name: "onnx", feed: onnx },
    Target { name: "embedding", feed: embedding },
    Target { name: "calibration", feed: calibration },
];

/// Bounds such as a node has them, small enough to be reached.
const EVENTS: events::Limits =
    events::Limits { event_bytes: 4 << 10, batch_bytes: 64 << 10, events: 100, max_age_us: i64::MAX };
const RELEASE: release::Limits = release::Limits { max_files: 20, max_file_bytes: 1 << 20, max_total_bytes: 4 << 20 };

/// The widest pipeline that is compiled.
const MOST_COLUMNS: usize = 10_000;

/// A decide request and a batch of them.
pub fn request(bytes: &[u8]) {
    drop(serde_json::from_slice::<Wire<'_>>(bytes));
    drop(serde_json::from_slice::<Batch<'_>>(bytes));
}

/// A batch of events: each is taken or rejected by its place. What may come in headers comes from the body's first line.
pub fn events(bytes: &[u8]) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let attributes =
        ["specversion", "type", "source", "id", "time", "subject"].into_iter().zip(line.split(|byte| *byte == b','));
    let kinds = [
        events::Headers::default(),
        events::Headers { content_type: "application/x-ndjson", ..Default::default() },
        events::Headers { content_type: "application/cloudevents+json", ..Default::default() },
        events::Headers { attributes: attributes.collect(), ..Default::default() },
    ];
    for headers in kinds {
        let Ok(events) = events::parse(bytes, &headers, 0, &EVENTS, None) else { continue };
        assert!(events.len() <= EVENTS.events);
        for (at, event) in events.iter().enumerate() {
            assert!(
                event.as_ref().map_or_else(|rejected| rejected.index == at, |parsed| !parsed.event.name.is_empty())
            );
        }
    }
}

/// A row of features, JSON or compact: one that is read is written in the compact form, when all its values are right, and
/// read back to the same cells; one that is compact is shown as JSON that says the same.
pub fn row_of_features(bytes: &[u8]) {
    let layout = Arc::new(RowLayout::new([
        ("category".to_owned(), FeatureKind::Symbol, 1),
        ("in_stock".to_owned(), FeatureKind::Flag, 1),
        ("note".to_owned(), FeatureKind::Text, 1),
        ("price".to_owned(), FeatureKind::Number, 1),
        ("seen".to_owned(), FeatureKind::Time, 1),
        ("similar".to_owned(), FeatureKind::Ids, 2),
        ("taste".to_owned(), FeatureKind::Vector, 3),
        ("weight".to_owned(), FeatureKind::F32, 1),
        ("width".to_owned(), FeatureKind::F32, 1),
    ]));
    let limits = SymbolLimits { symbols: 100, text_bytes: 100 };
    let mut reader = RowReader::new(Arc::clone(&layout), Arc::new(Symbols::new(limits)));
    let mut cells =
        |bytes: &[u8]| reader.read(bytes).map(|row| (row.cells.to_vec(), row.time_us, row.cut, row.wrong)).ok();
    let mut same = |bytes: &[u8]| {
        let Some(first) = cells(bytes) else { return };
        let again = match binary::to_json(bytes, &layout) {
            Ok(json) => Some(json.into_bytes()),
            Err(_) => BinaryWriter::new(Arc::clone(&layout)).write(bytes).ok(),
        };
        // What is wrong in one form is not there in the other.
        if let Some(again) = again.filter(|_| first.3 == 0) {
            let again = cells(&again);
            let said = |row: &(Vec<u64>, Option<i64>, u32, u32)| (row.0.clone(), row.1, row.3);
            assert_eq!(again.as_ref().map(said), Some(said(&first)));
            // A key that stands twice may be cut twice; in the compact form it stands once.
            assert!(again.is_some_and(|again| again.2 <= first.2));
        }
    };
    same(bytes);
    // With the right schema, which nobody would hit on by chance.
    let mut head = bytes.to_vec();
    if binary::is_binary(bytes)
        && let Some(hash) = head.get_mut(2..10)
    {
        hash.copy_from_slice(&SchemaHash::of(&layout).bytes());
        same(&head);
    }
}

/// A manifest: one that is accepted is written and read back the same.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return };
    if manifest.check().is_ok() {
        let written = serde_json::to_vec(&manifest).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Manifest>(&written).ok(), Some(manifest));
    }
}

/// A module file.
pub fn module(bytes: &[u8]) {
    if let Ok(opened) = module::open(bytes) {
        assert!(opened.manifest.check().is_ok());
        assert!(module::lift(bytes).is_ok(), "a module that opens has a core");
    }
}

/// A release file: one that opens is not trusted by nobody's keys.
pub fn release(bytes: &[u8]) {
    if let Ok(files) = release::open(bytes, &RELEASE) {
        assert!(files.files.len() + 2 <= RELEASE.max_files);
        drop(release::definition(&files));
    }
}

/// An outbox block: one that decodes holds what its header says, and encodes and decodes to the same items.
pub fn block(bytes: &[u8]) {
    let Ok((header, items)) = block::decode(bytes) else { return };
    assert_eq!(header.count as usize, items.len());
    let stamp = block::Stamp {
        lane: header.lane,
        node: header.node,
        epoch: header.epoch,
        first_seq: header.first_seq,
        sealed_us: header.sealed_us,
    };
    let again = block::encode(&stamp, &items).map(|bytes| block::decode(&bytes));
    // By text: NaN is not equal to itself.
    let text = again.map(|again| again.map(|(_, items)| format!("{items:?}")));
    assert_eq!(text.ok().and_then(Result::ok), Some(format!("{items:?}")));
}

/// A decision table, as JDM or as CSV: rules that are read can be looked at and, now and then, built and written as CSV, and
/// the work and the code are in proportion to the file.
pub fn rules(bytes: &[u8]) {
    let file = if bytes.first() == Some(&b'{') { "a.jdm.json" } else { "a.csv" };
    let (rules, size) = match rules::read(file, bytes) {
        Ok(rules) => (rules, bytes.len()),
        Err(bad) => {
            let bound = bad.findings.iter().any(|finding| finding.message.contains(rules::WORK_BOUND));
            assert!(!bound || bytes.len() > 16 << 10, "a small file makes too much work");
            return;
        }
    };
    // Every word is looked at once or twice; each of n nodes may hand on n names.
    let work = 4 * size + size * size / 1_000;
    assert!(rules.work() <= work, "{} parts were looked at for {size} bytes", rules.work());
    assert!(rules::lint::lint(&rules).len() <= 100);
    let sum: usize = bytes.iter().map(|byte| usize::from(*byte)).sum();
    // Sealing takes a hundred times as long as reading.
    if sum.is_multiple_of(16)
        && let Ok(module) = rules.module()
    {
        assert!(module::open(&module).is_ok(), "a module that was built opens");
        let code = module::lift(&module).map_or(0, <[u8]>::len);
        assert!(code <= 64 * size + (8 << 10), "{code} bytes of code for {size} bytes of rules");
        drop(rules::to_csv(file, bytes, None));
    }
}

/// A table that the targets below know.
const TABLE: &[u8] = b"user.segment: symbol,item.price: number required,> boost,> badge\nvip,> 5,1.5,gold\n,,1,\n";

/// Tests of rules: one that is read runs, or says why not.
pub fn rules_tests(bytes: &[u8]) {
    let (Ok(cases), Ok(rules)) = (rules::trial::read("a.test.json", bytes), rules::read("a.csv", TABLE)) else {
        return;
    };
    for case in cases.iter().take(100) {
        match rules::trial::run(&rules.program, case) {
            Ok(tried) => assert!(tried.fired.iter().all(|(table, row)| *table == 0 && *row < 2)),
            Err(why) => assert!(!why.is_empty()),
        }
    }
}

/// The TOML file beside rules, and beside a model.
pub fn sidecar(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(bad) = rules::read_with("a.csv", TABLE, Some(("a.toml", text))) {
        assert!(!bad.findings.is_empty());
    }
    if let Ok(sidecar) = Sidecar::read("a.toml", text) {
        let model = serde_json::from_str::<Pipeline>(MODEL);
        assert!(model.is_ok());
        if let Ok(mut pipeline) = model
            && sidecar.apply(&mut pipeline).is_ok()
            && sidecar.calibrate(&mut pipeline).is_ok()
        {
            drop(pipeline.check());
        }
    }
}

/// The middle form.
pub fn pipeline(bytes: &[u8]) {
    imported(import::form::read(bytes, None));
}

/// An XGBoost model, JSON or UBJSON.
pub fn xgboost(bytes: &[u8]) {
    imported(import::xgboost::read(bytes, None));
}

/// A LightGBM model.
pub fn lightgbm(bytes: &[u8]) {
    imported(import::lightgbm::read(bytes, None));
}

/// A network.
pub fn onnx(bytes: &[u8]) {
    imported(import::onnx::read(bytes, None));
}

/// Item vectors.
pub fn embedding(bytes: &[u8]) {
    imported(import::embedding::read(bytes, None));
}

/// A model that sidecars and calibrations are put on.
const MODEL: &str = r#"{"selvedge_pipeline":1,"kind":"linear","inputs":[{"name":"x","type":"number"}],"steps":
    [{"step":"apply","columns":[0],"function":"sigmoid"}],"outputs":
    {"margin":[{"name":"score","column":0}],"probability":[{"name":"score","column":1}]}}"#;

/// A calibration: one that is accepted can be put on a model with one output.
pub fn calibration(bytes: &[u8]) {
    let model = serde_json::from_str::<Pipeline>(MODEL);
    assert!(model.is_ok());
    let (Ok(calibration), Ok(mut pipeline)) = (calibrate::read(bytes), model) else { return };
    assert_eq!(calibrate::calibrate(&mut pipeline, &calibration), Ok(()));
    assert_eq!(pipeline.check().err(), None);
}

/// A model that is accepted can be evaluated and compiled, and the kernel agrees with the reference; a refused one says why.
fn imported(read: Result<Pipeline, BadModel>) {
    let pipeline = match read {
        Ok(pipeline) => pipeline,
        Err(bad) => return assert!(!bad.why.is_empty()),
    };
    assert_eq!(pipeline.check().err(), None);
    // A large model takes a thousand times as long.
    if pipeline.width() > MOST_COLUMNS {
        return;
    }
    let [shared, candidate] = [Scope::Shared, Scope::Candidate].map(|scope| row(pipeline.width_of(scope)));
    for output in [OutputKind::Margin, OutputKind::Probability] {
        let options = Options { output: Some(output), ..Options::new("fuzz") };
        let program = match compile::program(&pipeline, &options) {
            Ok(program) => program,
            Err(why) => {
                assert!(matches!(why, CompileError::Output(..) | CompileError::Size { .. }), "{why}");
                continue;
            }
        };
        let expected = reference::evaluate(&pipeline, output, &shared, &candidate, 1);
        let found = Native::of(&program).and_then(|program| program.evaluate(&shared, &candidate));
        let agree = match (&expected, &found) {
            (Ok(a), Ok(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b)),
            _ => false,
        };
        assert!(agree, "the reference answers {expected:?}, the kernel {found:?}");
    }
}

/// Values of every kind, in turn.
fn row(width: usize) -> Vec<f64> {
    let values = [0.5, 1.0, f64::NAN, -1.0, 0.0, 3.7, -0.0, 1e300, -250.25, f64::INFINITY, 2.0];
    values.into_iter().cycle().take(width).collect()
}
