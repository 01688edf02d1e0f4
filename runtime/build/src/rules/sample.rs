//! Rows of inputs that try a program at its edges. Owns which numbers are worth trying: the ones that cells speak of, what
//! lies beside and between them, missing and unknown values. The same rows on every machine.

use std::collections::BTreeSet;

use selvedge_decision::manifest::{Kind, Scope};
use selvedge_decision::vector::Vector;

use super::eval::{self, Evaluated, Run};
use super::program::{Expr, Literal, Program, Row, Table};

/// How many golden vectors there are at least, and at most when rows need more.
const VECTORS: usize = 32;
const MAX_VECTORS: usize = 256;
/// Candidate rows of a vector.
const VECTOR_ROWS: u32 = 4;
/// How often a row is aimed at before it is given up.
const TRIES: usize = 6;
/// The most numbers that are tried for one input, and the most that are taken from cells for that.
const MAX_TRIED: usize = 200;
const MAX_NAMED: usize = 4096;
/// How many parts of expressions may be gone through to make rows fire.
const MAX_VISITED: usize = 100_000_000;

/// What is tried for each input, in the manifest's order.
pub(super) struct Samples<'p> {
    program: &'p Program,
    tried: Vec<Vec<f64>>,
    state: u64,
    visited: usize,
}

/// One candidate's inputs, in the manifest's order.
pub(super) type Inputs = Vec<f64>;

/// Golden vectors: every row that a handful of tries makes fire, missing and unknown values, and what lies around the
/// numbers that cells name.
pub(super) fn vectors(program: &Program) -> Vec<Vector> {
    let mut samples = Samples::new(program);
    let mut found = vec![vec![f64::NAN; program.inputs.len()]];
    found.extend(samples.covering(MAX_VECTORS - VECTORS / 2));
    while found.len() < VECTORS {
        found.push(samples.any());
    }
    let rows = VECTOR_ROWS.min(program.rows);
    found.into_iter().map(|inputs| samples.vector(&inputs, rows)).collect()
}

// === impl Samples ===

impl<'p> Samples<'p> {
    pub(super) fn new(program: &'p Program) -> Self {
        let mut named = vec![BTreeSet::new(); program.inputs.len()];
        let mut taken = 0;
        for step in &program.steps {
            step.each_expr(&mut |expr| {
                let mut numbers = BTreeSet::new();
                literals(expr, &mut numbers);
                for input in inputs_of(program, expr) {
                    if named[input].len() < MAX_NAMED && taken < MAX_VISITED / 10 {
                        taken += numbers.len();
                        named[input].extend(&numbers);
                    }
                }
            });
        }
        let tried = program.inputs.iter().zip(named);
        let tried = tried.map(|(input, numbers)| around(input.kind, program.texts.len(), numbers)).collect();
        Self { program, tried, state: 0x5e1f_ed9e, visited: 0 }
    }

    /// Any inputs.
    pub(super) fn any(&mut self) -> Inputs {
        (0..self.tried.len()).map(|input| self.one(input)).collect()
    }

    fn one(&mut self, input: usize) -> f64 {
        let draw = self.draw();
        let tried = &self.tried[input];
        tried.get(draw as usize % tried.len().max(1)).copied().unwrap_or(f64::NAN)
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Inputs that make rows fire, at most `limit` of them, each a row that none before did.
    pub(super) fn covering(&mut self, limit: usize) -> Vec<Inputs> {
        let program = self.program;
        let mut found = Vec::new();
        let mut fired = BTreeSet::new();
        for (at, table) in program.tables().enumerate() {
            for row in 0..table.rows.len() {
                if found.len() == limit || self.visited > MAX_VISITED {
                    return found;
                }
                if fired.contains(&(at, row)) {
                    continue;
                }
                if let Some(inputs) = self.aim(at, table, row) {
                    let evaluated = self.evaluate(&inputs);
                    fired.extend(evaluated.fired_rows());
                    found.push(inputs);
                }
            }
        }
        found
    }

    /// Inputs that make one row fire, if a few tries find any.
    pub(super) fn aim(&mut self, at: usize, table: &Table, row: usize) -> Option<Inputs> {
        (0..TRIES).find_map(|_| {
            let mut inputs = self.any();
            self.satisfy(&table.rows[row], &mut inputs);
            let hits = |fired: &(usize, Vec<usize>)| fired.0 == at && fired.1.contains(&row);
            self.evaluate(&inputs).fired.iter().any(hits).then_some(inputs)
        })
    }

    /// Changes the inputs that the row's tests read directly, until each test holds.
    fn satisfy(&mut self, row: &Row, inputs: &mut Inputs) {
        let mut run = Run::of_inputs(self.program, inputs);
        for test in row.also.iter().chain(row.tests.iter().flatten()) {
            for input in inputs_of(self.program, test) {
                if run.holds(test) || self.visited + run.visited() > MAX_VISITED {
                    break;
                }
                let start = self.draw() as usize;
                let tried = &self.tried[input];
                let fits = (0..tried.len()).map(|i| tried[(start + i) % tried.len()]).find(|number| {
                    run.set_input(input, *number);
                    run.holds(test)
                });
                inputs[input] = fits.unwrap_or(inputs[input]);
                run.set_input(input, inputs[input]);
            }
        }
        self.visited += run.visited() + self.program.values.len();
    }

    fn evaluate(&mut self, inputs: &Inputs) -> Evaluated {
        let [shared, candidate] = split(self.program, inputs);
        let (evaluated, visited) = eval::evaluate_counted(self.program, &shared, &candidate);
        self.visited += visited;
        evaluated
    }

    /// A call with these inputs for the first candidate, and any for the others.
    fn vector(&mut self, inputs: &Inputs, count: u32) -> Vector {
        let [shared, mut candidates] = split(self.program, inputs);
        for _ in 1..count {
            let other = self.any();
            candidates.extend(&split(self.program, &other)[1]);
        }
        let width = candidates.len() / count.max(1) as usize;
        let outputs = (0..count as usize)
            .flat_map(|row| eval::evaluate(self.program, &shared, &candidates[row * width..(row + 1) * width]).outputs)
            .collect();
        Vector { shared, candidates, count, outputs }
    }
}

/// Inputs as the two rows of a call.
pub(super) fn split(program: &Program, inputs: &[f64]) -> [Vec<f64>; 2] {
    [Scope::Shared, Scope::Candidate].map(|scope| {
        let of_row = program.inputs.iter().zip(inputs).filter(|(input, _)| input.scope == scope);
        of_row.map(|(_, number)| *number).collect()
    })
}

/// The inputs that an expression reads directly.
fn inputs_of(program: &Program, expr: &Expr) -> BTreeSet<usize> {
    let mut inputs = BTreeSet::new();
    // The values of inputs are in the order of their numbers.
    expr.each_value(&mut |value| inputs.extend(program.input_values.binary_search(&value)));
    inputs
}

fn literals(expr: &Expr, numbers: &mut BTreeSet<u64>) {
    if let Expr::Literal(Literal::Number(number)) = expr {
        numbers.insert(number.to_bits());
    }
    for part in expr.parts() {
        literals(part, numbers);
    }
}

/// What to try for an input of this kind when cells name these numbers.
fn around(kind: Kind, texts: usize, numbers: BTreeSet<u64>) -> Vec<f64> {
    let mut tried = match kind {
        Kind::Flag => vec![0.0, 1.0],
        Kind::Symbol => (0..texts.min(MAX_TRIED)).map(|text| text as f64).chain([-1.0]).collect(),
        Kind::Number | Kind::Vector => {
            let mut named: Vec<f64> = numbers.into_iter().map(f64::from_bits).collect();
            named.sort_by(f64::total_cmp);
            named.dedup();
            // Of many, some from everywhere.
            let step = (4 * named.len() / MAX_TRIED).max(1);
            let between = |pair: &[f64]| pair[0] + (pair[1] - pair[0]) / 2.0;
            let mut tried: Vec<f64> = named.windows(2).step_by(step).map(between).collect();
            for number in named.iter().step_by(step) {
                tried.extend([*number, number.next_up(), number.next_down(), number + 1.0, number - 1.0]);
            }
            tried.extend([0.0, -0.0, 1.0, -1.0, 0.5, 1e6]);
            tried
        }
    };
    // Missing, about once in eight.
    tried.extend(std::iter::repeat_n(f64::NAN, 1 + tried.len() / 7));
    tried
}
