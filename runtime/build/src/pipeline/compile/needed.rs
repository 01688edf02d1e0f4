//! Which columns an answer needs. Owns the walk back from the answers; what it leaves out is not computed.

use crate::pipeline::step::{Column, Step};
use crate::pipeline::trees::Trees;
use crate::pipeline::{Answer, Pipeline};

/// Whether each column is needed for `answers`.
pub(super) fn needed(pipeline: &Pipeline, answers: &[Answer]) -> Vec<bool> {
    let mut needed = vec![false; pipeline.width()];
    for answer in answers {
        needed[answer.column as usize] = true;
    }
    let mut end = needed.len();
    for step in pipeline.steps.iter().rev() {
        let first = end - step.width();
        let own = needed[first..end].to_vec();
        let mut need = |columns: &[Column]| columns.iter().for_each(|column| needed[*column as usize] = true);
        match step {
            Step::Products { terms } | Step::Sums { terms } => {
                terms.iter().zip(&own).filter(|(_, own)| **own).for_each(|(term, _)| need(term));
            }
            Step::Trees(trees) if own.contains(&true) => need(&looked_at(trees)),
            _ => match step.each() {
                Some(columns) => {
                    columns.iter().zip(&own).filter(|(_, own)| **own).for_each(|(column, _)| need(&[*column]))
                }
                None if own.contains(&true) => need(&step.reads().collect::<Vec<_>>()),
                None => {}
            },
        }
        end = first;
    }
    needed
}

/// The columns that a node looks at.
fn looked_at(trees: &Trees) -> Vec<Column> {
    let mut looked_at = vec![false; trees.columns.len()];
    for feature in trees.trees.iter().flat_map(|tree| &tree.feature) {
        if let Some(looked_at) = usize::try_from(*feature).ok().and_then(|feature| looked_at.get_mut(feature)) {
            *looked_at = true;
        }
    }
    trees.columns.iter().zip(looked_at).filter_map(|(column, looked_at)| looked_at.then_some(*column)).collect()
}
