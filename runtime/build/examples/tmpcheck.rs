#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "t")]
use selvedge_build::{
    import,
    pipeline::{OutputKind, reference},
};
fn f64s(p: &std::path::Path) -> Vec<f64> {
    std::fs::read(p).unwrap().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
}
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for p in names {
        let model = import::read("m", &std::fs::read(p.join("model.onnx")).unwrap(), None);
        let model = match model {
            Ok(m) => m,
            Err(e) => {
                println!("{p:?} {e}");
                continue;
            }
        };
        let rows = f64s(&p.join("rows.f64"));
        let (kind, expected) = if p.join("margin.f64").exists() {
            (OutputKind::Margin, f64s(&p.join("margin.f64")))
        } else {
            (OutputKind::Probability, f64s(&p.join("prediction.f64")))
        };
        let w = model.input_width();
        let answers = if kind == OutputKind::Margin { &model.outputs.margin } else { &model.outputs.probability };
        let mut worst = 0.0f64;
        let mut k = 0;
        for row in rows.chunks(w) {
            let tape = reference::tape(&model, row);
            for a in answers {
                let d = (tape[a.column as usize] - expected[k]).abs() / expected[k].abs().max(1.0);
                if d.is_nan() {
                    println!("nan")
                };
                worst = worst.max(d);
                k += 1;
            }
        }
        println!(
            "{:?} {} rows {} outputs ({}) worst {worst:e} {}",
            p.file_name().unwrap(),
            rows.len() / w,
            answers.len(),
            answers.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(","),
            if k == expected.len() { "" } else { "COUNT" }
        );
    }
}
