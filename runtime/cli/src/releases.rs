//! Releases that commands decide with: given as files or folders, or fetched from the core by their digest. Owns that what was
//! fetched is what its name says, and that each is loaded once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use selvedge_build::release::{self, Limits, ReleaseFiles};
use selvedge_decision::plan::Plan;
use selvedge_decision::record::Rung;
use selvedge_decision::settle::Modules;
use selvedge_decision::{Digest, Fault};
use selvedge_host::{Host, HostConfig, Module};
use selvedge_node::link::NatsLink;

use crate::core::CoreArgs;
use crate::files::read_file;
use crate::output::Output;

/// How long a release may take to come.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one call of a replay may take: faults come from the record, so this only ends what would not end.
const CALL_BUDGET: Duration = Duration::from_secs(10);
/// Calls at the same time.
const INSTANCES: u32 = 4;

/// A release that can decide.
pub(crate) struct Release {
    pub(crate) digest: Digest,
    pub(crate) plan: Plan,
    /// The modules of the plan, by its index.
    pub(crate) modules: Vec<Loaded>,
}

/// A module of a release.
pub(crate) struct Loaded {
    pub(crate) module: Module,
    /// Of its bytes: two releases may have the same module under one name or two.
    pub(crate) digest: Digest,
}

/// The calls of a replay, which plays faults back.
pub(crate) struct Calls<'a>(pub(crate) &'a Release);

/// All releases of a command.
pub(crate) struct Releases {
    host: Host,
    known: BTreeMap<Digest, Rc<Release>>,
    /// Those that cannot be had, and why.
    missing: BTreeMap<Digest, String>,
    core: Option<Core>,
}

/// The core's releases.
enum Core {
    Asked(Arc<NatsLink>),
    NotYet(CoreArgs),
    /// It does not answer.
    Away(String),
}

impl Modules for Calls<'_> {
    fn evaluate(
        &mut self,
        _: Rung,
        module: usize,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let Some(loaded) = self.0.modules.get(module) else { return Err(Fault::Refused) };
        loaded.module.evaluate(shared, candidates, count, CALL_BUDGET)
    }
}

// === impl Releases ===

impl Releases {
    /// None yet; others than those given are fetched from `core`, if there is one.
    pub(crate) fn new(core: Option<&CoreArgs>) -> anyhow::Result<Self> {
        let host = Host::new(HostConfig { instances: INSTANCES, ..HostConfig::default() })?;
        let core = core.cloned().map(Core::NotYet);
        Ok(Self { host, known: BTreeMap::new(), missing: BTreeMap::new(), core })
    }

    /// Those of the files, and no others when there are any.
    pub(crate) fn given(files: &[PathBuf], core: &CoreArgs) -> anyhow::Result<Self> {
        let mut releases = Self::new(files.is_empty().then_some(core))?;
        files.iter().try_for_each(|file| releases.add(file).map(drop))?;
        Ok(releases)
    }

    /// A release file.
    pub(crate) fn add(&mut self, file: &Path) -> anyhow::Result<Rc<Release>> {
        let limits = Limits::default();
        let files = release::open(&read_file(file, limits.max_total_bytes)?, &limits)?;
        self.load(&files)
    }

    /// What is packed.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<Rc<Release>> {
        self.load(&release::open(bytes, &Limits::default())?)
    }

    fn load(&mut self, files: &ReleaseFiles) -> anyhow::Result<Rc<Release>> {
        if let Some(known) = self.known.get(&files.digest) {
            return Ok(Rc::clone(known));
        }
        let contents = release::definition(files)?;
        let plan = contents.compile()?;
        let load = |name: &String| {
            let module =
                contents.modules.get(name).ok_or_else(|| anyhow::anyhow!("module {name} is not in the release"))?;
            let loaded = self.host.load(module.bytes, &module.file.manifest)?;
            anyhow::Ok(Loaded { module: loaded, digest: Digest::of(module.bytes) })
        };
        let modules = plan.modules.iter().map(load).collect::<anyhow::Result<_>>()?;
        let release = Rc::new(Release { digest: files.digest, plan, modules });
        self.known.insert(files.digest, Rc::clone(&release));
        Ok(release)
    }

    /// The release of a digest, or why there is none. What the core says is believed as far as it is what its digest names.
    pub(crate) async fn of(&mut self, digest: Digest, output: &Output) -> Result<Rc<Release>, String> {
        if let Some(known) = self.known.get(&digest) {
            return Ok(Rc::clone(known));
        }
        if let Some(why) = self.missing.get(&digest) {
            return Err(why.clone());
        }
        let found = self.fetch(digest).await;
        match &found {
            Ok(_) => output.talk(format_args!("{digest}: fetched from the core")),
            Err(why) => drop(self.missing.insert(digest, why.clone())),
        }
        found
    }

    async fn fetch(&mut self, digest: Digest) -> Result<Rc<Release>, String> {
        let connected = match self.core.take() {
            None => return Err("it was not given".to_owned()),
            Some(Core::NotYet(args)) => match args.connect().await {
                Ok(nats) => Core::Asked(nats),
                Err(error) => Core::Away(format!("it was not given, and the core cannot be asked: {error:#}")),
            },
            Some(known) => known,
        };
        let bytes = match &connected {
            Core::Asked(nats) => {
                let fetched = nats.fetch_release(&digest, Limits::default().max_total_bytes, FETCH_TIMEOUT).await;
                fetched.map_err(|error| error.to_string())
            }
            Core::Away(why) => Err(why.clone()),
            Core::NotYet(_) => Err("it was not given".to_owned()),
        };
        self.core = Some(connected);
        let files = release::open(&bytes?, &Limits::default()).map_err(|error| format!("{digest}: {error}"))?;
        if files.digest != digest {
            return Err(format!("what the core has under {digest} is {}", files.digest));
        }
        self.load(&files).map_err(|error| format!("{digest}: {error:#}"))
    }
}
