//! Names for columns, after the inputs they come from: a scaled `age` is still `age`, one of a one-hot `country` is
//! `country=DE`.

use selvedge_decision::manifest::Kind;

use crate::pipeline::Pipeline;
use crate::pipeline::step::{Column, Step};

/// The name of every column of the tape.
pub fn column_names(pipeline: &Pipeline) -> Vec<String> {
    let mut names = Vec::with_capacity(pipeline.width());
    for input in &pipeline.inputs {
        match input.kind {
            Kind::Vector => names.extend((0..input.width()).map(|at| format!("{}[{at}]", input.name))),
            Kind::Number | Kind::Flag | Kind::Symbol => names.push(input.name.clone()),
        }
    }
    // The symbols of the column `column`, when it is an input.
    let symbols = |column: Column| {
        let mut first = 0;
        pipeline.inputs.iter().find_map(|input| {
            let is_it = first == column as usize && input.kind == Kind::Symbol;
            first += input.width();
            is_it.then_some(input.symbols.as_slice())
        })
    };
    for (number, step) in pipeline.steps.iter().enumerate() {
        let named: Vec<String> = match step {
            Step::OneHot { column, width, slots, other, missing } => {
                let of = |slot: i32| {
                    let texts = symbols(*column).unwrap_or_default().iter().zip(slots);
                    let mut told: Vec<&str> =
                        texts.filter(|(_, own)| **own == slot).map(|(text, _)| text.as_str()).collect();
                    told.extend((*other == slot).then_some("(other)"));
                    told.extend((*missing == slot).then_some("(missing)"));
                    format!("{}={}", names[*column as usize], told.join("|"))
                };
                (0..*width as i32).map(of).collect()
            }
            Step::Table { column, width: 1, .. } => vec![names[*column as usize].clone()],
            Step::Table { column, width, .. } => {
                (0..*width).map(|at| format!("{}[{at}]", names[*column as usize])).collect()
            }
            Step::IsMissing { columns } => columns.iter().map(|c| format!("missing({})", names[*c as usize])).collect(),
            Step::Apply { columns, function } => {
                let function = serde_json::to_value(function).unwrap_or_default();
                let function = function.as_str().unwrap_or_default();
                columns.iter().map(|c| format!("{function}({})", names[*c as usize])).collect()
            }
            Step::Impute { columns, .. }
            | Step::ZeroIsMissing { columns }
            | Step::Scale { columns, .. }
            | Step::Clip { columns, .. } => columns.iter().map(|c| names[*c as usize].clone()).collect(),
            Step::Products { terms } => {
                let term =
                    |term: &Vec<Column>| term.iter().map(|c| names[*c as usize].as_str()).collect::<Vec<_>>().join("*");
                terms.iter().map(term).collect()
            }
            Step::Index { column, .. } | Step::Bins { column, .. } => vec![format!("bin({})", names[*column as usize])],
            _ => (0..step.width()).map(|at| format!("steps[{number}][{at}]")).collect::<Vec<_>>(),
        };
        names.extend(named);
    }
    names
}
