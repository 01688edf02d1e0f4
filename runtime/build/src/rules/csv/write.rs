//! The table of a JDM file as CSV. Owns what of such a file a CSV file can say; whether what was written means the same is
//! found out by reading it.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::manifest::Kind;
use serde_json::Value;

use super::super::finding::{BadRules, Code, Finding, Place};
use super::super::jdm::{ColumnDef, Content, File, TableDef};
use super::super::program::{Aggregate, Program, Type};
use super::super::settings::{InputDef, Settings};
use super::cells::{self, Inputs};
use super::{head, looks, records};

/// A column to write.
struct Column<'t> {
    id: &'t str,
    head: String,
    kind: Kind,
    is_output: bool,
}

/// The file of one table as CSV; `program` is what the file means, and `is_beside` says that `settings` stay in a file beside.
///
/// # Errors
///
/// When the file is more than one table between input and output, or its settings are more than heads can say.
pub(in super::super) fn write(
    file: &File,
    settings: &Settings,
    program: &Program,
    is_beside: bool,
) -> Result<String, BadRules> {
    let wrong = |message: &str| refused(Place::default(), message);
    let mut tables = Vec::new();
    for node in &file.nodes {
        match node.content()? {
            Content::Table(table) => tables.push((node.name.as_str(), table)),
            Content::Input | Content::Output => {}
            Content::Expressions(_) | Content::Switch(_) => {
                return Err(wrong("has expressions or a switch: a CSV file holds one table"));
            }
        }
    }
    let [(name, table)] = tables.as_slice() else {
        return Err(wrong("has not exactly one table: a CSV file holds one"));
    };
    if table.transform.input_field.is_some() || table.transform.output_path.is_some() {
        return Err(wrong("its table has an input field or an output path"));
    }
    let inputs: Inputs<'_> = settings.inputs.iter().map(|(name, def)| (name.as_str(), def.spec().kind)).collect();
    let columns = columns(table, settings, program, &inputs, is_beside)?;
    let mut out = String::new();
    records::push_option(&mut out, &format!("# name: {name}"));
    if table.hit_policy.as_deref() == Some("collect") {
        let collect = settings.collect.get(*name).filter(|_| !is_beside);
        let words =
            collect.into_iter().flatten().map(|(output, word)| format!(" {output}={}", word_of((*word).into())));
        records::push_option(&mut out, &format!("# hit: collect{}", words.collect::<String>()));
    }
    if let Some(rows) = settings.rows.filter(|_| !is_beside) {
        records::push_option(&mut out, &format!("# rows: {rows}"));
    }
    let extra = [("_description", "note"), ("_from", "from"), ("_until", "until")];
    let said = |rule: &BTreeMap<String, Value>, key: &str| -> String {
        let dates = rule.get("_id").and_then(Value::as_str).and_then(|id| settings.dates.get(id));
        let date = dates.and_then(|dates| if key == "_from" { dates.from.clone() } else { dates.until.clone() });
        let written = rule.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        if key == "_description" { written } else { date.unwrap_or(written) }
    };
    let used: Vec<_> =
        extra.into_iter().filter(|(key, _)| table.rules.iter().any(|rule| !said(rule, key).is_empty())).collect();
    let names = columns.iter().map(|column| column.head.clone());
    records::push(&mut out, &names.chain(used.iter().map(|(_, name)| (*name).to_owned())).collect::<Vec<_>>());
    for rule in &table.rules {
        let cell = |column: &Column<'_>| {
            let cell = rule.get(column.id).and_then(Value::as_str).unwrap_or_default().trim();
            let cell = cells::spaced(cell);
            if column.is_output {
                cells::bare_output(&cell, column.kind, &inputs)
            } else {
                cells::bare_input(&cell, column.kind, &inputs)
            }
        };
        let mut cells: Vec<String> =
            columns.iter().map(cell).chain(used.iter().map(|(key, _)| said(rule, key))).collect();
        // A line without anything in it is no row.
        if cells.iter().all(String::is_empty)
            && let Some(first) = columns.iter().position(|column| !column.is_output)
        {
            "-".clone_into(&mut cells[first]);
        }
        records::push(&mut out, &cells);
    }
    Ok(out)
}

fn refused(place: Place, message: impl Into<String>) -> BadRules {
    BadRules::one(Finding::error(Code::Unsupported, place, message, "keep it as JDM"))
}

fn columns<'t>(
    table: &'t TableDef,
    settings: &Settings,
    program: &Program,
    inputs: &Inputs<'_>,
    is_beside: bool,
) -> Result<Vec<Column<'t>>, BadRules> {
    let field = |column: &'t ColumnDef| column.field.as_deref().unwrap_or_default().trim();
    let mut columns = Vec::new();
    let mut heads = BTreeSet::new();
    for column in &table.inputs {
        let name = field(column);
        let place = Place::default().column(name);
        let Some(spec) = settings.inputs.get(name).map(InputDef::spec) else {
            let message = format!("the column `{name}` is no declared input; CSV has inputs as they come");
            return Err(refused(place, message));
        };
        if !is_beside && (spec.derive.is_some() || !spec.symbols.is_empty()) {
            let message = format!("`{name}` has a function or a list of symbols, which a head of CSV cannot say");
            return Err(refused(place, message));
        }
        let head = if is_beside { Ok(format!("{name}: {}", spec.kind)) } else { head::write(name, &spec) };
        let head = head.map_err(|why| refused(place, why))?;
        heads.insert(name);
        columns.push(Column { id: &column.id, head, kind: spec.kind, is_output: false });
    }
    let needed = program.inputs.iter().filter(|input| settings.inputs.contains_key(&input.name));
    if let Some(input) = needed.filter(|_| !is_beside).find(|input| !heads.contains(input.name.as_str())) {
        let message = format!("`{}` is no column of its own; CSV has one for every input", input.name);
        return Err(refused(Place::default().column(&input.name), message));
    }
    let targets = program.tables().next().map(|table| &table.targets[..]).unwrap_or_default();
    for (at, column) in table.outputs.iter().enumerate() {
        let counted = targets.get(at).is_none_or(|target| target.aggregate == Some(Aggregate::Count));
        let kind = if counted {
            // A count is a number, whatever is counted.
            let cells = table.rules.iter().filter_map(|rule| rule.get(&column.id).and_then(Value::as_str));
            looks::kind_of_outputs(cells, inputs).ok().flatten().unwrap_or(Kind::Number)
        } else {
            kind_of(program.value(targets[at].value).kind)
        };
        let head = format!("> {}: {kind}", field(column));
        columns.push(Column { id: &column.id, head, kind, is_output: true });
    }
    Ok(columns)
}

fn kind_of(kind: Type) -> Kind {
    match kind {
        Type::Number => Kind::Number,
        Type::Flag => Kind::Flag,
        Type::Text => Kind::Symbol,
    }
}

fn word_of(aggregate: Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Sum => "sum",
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Count => "count",
    }
}

/// Refuses what means something else when it is read back, with its cell where there is one.
pub(in super::super) fn compare(before: &Program, after: &Program) -> Result<(), BadRules> {
    let [a, b] = [before, after].map(|program| program.tables().next());
    let (Some(a), Some(b)) = (a, b) else { return Ok(()) };
    if a.rows.len() != b.rows.len() {
        let message = format!("has {} rows, of which CSV keeps {}", a.rows.len(), b.rows.len());
        return Err(refused(Place::table(&a.name), message));
    }
    for (row, (a_row, b_row)) in a.rows.iter().zip(&b.rows).enumerate() {
        let place = || Place::table(&a.name).row(row);
        let tests = a_row.tests.iter().zip(&b_row.tests).map(|(a, b)| a == b);
        let outputs = a_row.outputs.iter().zip(&b_row.outputs).map(|(a, b)| a == b);
        if let Some(at) = tests.chain(outputs).position(|same| !same) {
            let column = a.columns.iter().chain(&a.outputs).nth(at).map_or("", |column| column.name.as_str());
            let cell = a_row.cells.get(at).map_or("", String::as_str);
            return Err(refused(place().column(column).cell(cell), "means something else in a CSV file"));
        }
        if a_row.also != b_row.also || a_row.note != b_row.note {
            return Err(refused(place(), "its dates or its note are others in a CSV file"));
        }
    }
    if bare(before) == bare(after) {
        return Ok(());
    }
    let message = "x-selvedge says more than the heads of a CSV file can, such as defaults of outputs";
    Err(refused(Place::default(), message))
}

/// A program without what only people read.
fn bare(program: &Program) -> Program {
    let mut program = program.clone();
    program.declared.clear();
    program.work = 0;
    program.values.iter_mut().for_each(|value| value.name.clear());
    for table in program.tables_mut() {
        table.columns.iter_mut().chain(&mut table.outputs).for_each(|column| column.name.clear());
        table.rows.iter_mut().for_each(|row| row.cells.clear());
    }
    program
}
