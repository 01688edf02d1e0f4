//! Decision tables as CSV, as a spreadsheet saves them. Owns the words of its heads and the bare texts of its cells; the table
//! itself becomes a JDM file of one table, so everything else is said once.
//!
//! The first line that is no comment names the columns: `user.segment: symbol` is an input, `> boost` an output, `note`,
//! `from` and `until` are what they say. Lines that begin with `#` set what concerns the whole table.

mod cells;
mod head;
mod records;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::head::{Head, Role};
use super::finding::{BadRules, Code, Finding, Place};
use super::jdm::{self, Content, File, TableDef};
use super::program::Aggregate;
use super::settings::{AggregateWord, Settings};

/// A table in the form of a file of one table.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<(File, Settings), BadRules> {
    let wrong =
        |place: Place, message: String, advice: &str| BadRules::one(Finding::error(Code::Form, place, message, advice));
    if bytes.len() > jdm::MAX_FILE_BYTES {
        let message = format!("{} bytes, at most {}", bytes.len(), jdm::MAX_FILE_BYTES);
        return Err(BadRules::one(Finding::error(
            Code::Limit,
            Place::default(),
            message,
            "split it into several files",
        )));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| wrong(Place::default(), format!("not UTF-8: {error}"), "save it as \"CSV UTF-8\""))?;
    let mut records = records::read(text).map_err(|why| wrong(Place::default(), why, "close the quote"))?.into_iter();
    let mut settings = Settings::default();
    let mut options = Options { name: name.to_owned(), collect: BTreeMap::new(), is_collect: false };
    let names = loop {
        let Some(record) = records.next() else {
            return Err(wrong(
                Place::default(),
                "has no line that names the columns".into(),
                "begin with such as `user.segment,> boost`",
            ));
        };
        match record.first().and_then(|cell| cell.trim().strip_prefix('#')) {
            Some(option) => options.take(option, &mut settings).map_err(|why| {
                wrong(
                    Place::default(),
                    why,
                    "known here: # name: …, # hit: first, # hit: collect boost=sum, # rows: 1024",
                )
            })?,
            None => break record,
        }
    };
    let records: Vec<Vec<String>> =
        records.filter(|record| !record.first().is_some_and(|cell| cell.trim_start().starts_with('#'))).collect();
    let place = |column: &str| Place::table(&options.name).column(column);
    let mut heads = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let column = records.iter().map(|record| record.get(at).map_or("", String::as_str));
        let head = Head::read(name, column)
            .map_err(|why| wrong(place(name), why, "write an input as `item.price: number`, an output as `> boost`"))?;
        heads.push(head);
    }
    if let Some((row, record)) = records.iter().enumerate().find(|(_, record)| record.len() > heads.len()) {
        let message = format!("has {} cells, the first line names {} columns", record.len(), heads.len());
        return Err(wrong(Place::table(&options.name).row(row), message, "put cells with commas in quotes"));
    }
    for head in &heads {
        if let Some((name, spec)) = head.input()
            && settings.inputs.insert(name.to_owned(), spec).is_some()
        {
            let message = format!("the column `{name}` stands twice");
            return Err(wrong(place(name), message, "write `> 5 and < 10` into one cell"));
        }
    }
    if options.is_collect {
        settings.collect.insert(options.name.clone(), std::mem::take(&mut options.collect));
    }
    Ok((file(&options, &heads, &records)?, settings))
}

/// What `#` lines say.
struct Options {
    name: String,
    is_collect: bool,
    collect: BTreeMap<String, AggregateWord>,
}

// === impl Options ===

impl Options {
    fn take(&mut self, option: &str, settings: &mut Settings) -> Result<(), String> {
        // A `#` line without a known word is a comment.
        let Some((key, value)) = option.split_once(':') else { return Ok(()) };
        let value = value.trim();
        match key.trim() {
            "name" => value.clone_into(&mut self.name),
            "rows" => settings.rows = value.parse().map_err(|_| format!("`# rows: {value}` is no number of rows"))?,
            "hit" => {
                let mut words = value.split_whitespace();
                self.is_collect = match words.next() {
                    Some("first") => false,
                    Some("collect") => true,
                    _ => return Err(format!("`# hit: {value}` is neither first nor collect")),
                };
                for word in words {
                    let aggregate = word.split_once('=').and_then(|(output, word)| {
                        let word = match word {
                            "sum" => AggregateWord::Sum,
                            "min" => AggregateWord::Min,
                            "max" => AggregateWord::Max,
                            "count" => AggregateWord::Count,
                            _ => return None,
                        };
                        Some((output.to_owned(), word))
                    });
                    self.collect.extend([aggregate.ok_or_else(|| format!("`{word}` is not such as boost=sum"))?]);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn file(options: &Options, heads: &[Head], records: &[Vec<String>]) -> Result<File, BadRules> {
    let id = |at: usize| format!("c{at}");
    let of = |wanted: fn(&Role) -> bool| -> Vec<Value> {
        let columns = heads.iter().enumerate().filter(|(_, head)| wanted(&head.role));
        columns.map(|(at, head)| json!({ "id": id(at), "name": head.name, "field": head.name })).collect()
    };
    let rules: Vec<BTreeMap<String, String>> = records
        .iter()
        .enumerate()
        .map(|(row, record)| {
            let mut rule = BTreeMap::from([("_id".to_owned(), format!("r{}", row + 1))]);
            for (at, head) in heads.iter().enumerate() {
                let cell = record.get(at).map_or("", |cell| cell.trim());
                let (key, cell) = match &head.role {
                    Role::Input(spec) => (id(at), cells::input(cell, spec.kind)),
                    Role::Output(kind) => (id(at), cells::output(cell, *kind)),
                    Role::Note => ("_description".to_owned(), cell.to_owned()),
                    Role::From => ("_from".to_owned(), cell.to_owned()),
                    Role::Until => ("_until".to_owned(), cell.to_owned()),
                    Role::Nothing => continue,
                };
                rule.insert(key, cell);
            }
            rule
        })
        .collect();
    let content = json!({
        "hitPolicy": if options.is_collect { "collect" } else { "first" },
        "inputs": of(|role| matches!(role, Role::Input(_))),
        "outputs": of(|role| matches!(role, Role::Output(_))),
        "rules": rules,
    });
    let whole = json!({
        "nodes": [
            { "id": "in", "type": "inputNode", "name": "Request" },
            { "id": "table", "type": "decisionTableNode", "name": options.name, "content": content },
            { "id": "out", "type": "outputNode", "name": "Response" },
        ],
        "edges": [
            { "id": "e1", "type": "edge", "sourceId": "in", "targetId": "table" },
            { "id": "e2", "type": "edge", "sourceId": "table", "targetId": "out" },
        ],
    });
    serde_json::from_value(whole)
        .map_err(|error| BadRules::one(Finding::error(Code::Form, Place::default(), error.to_string(), "")))
}

/// The table of a JDM file as CSV.
///
/// # Errors
///
/// When the file is more than one table between input and output, or its settings are more than heads can say.
pub(super) fn write(file: &File, settings: &Settings) -> Result<String, BadRules> {
    let wrong =
        |message: &str| BadRules::one(Finding::error(Code::Unsupported, Place::default(), message, "keep it as JDM"));
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
    if !settings.outputs.is_empty() {
        return Err(wrong("x-selvedge says more of outputs than a head of CSV can"));
    }
    let heads = head::write(table, settings).map_err(|why| wrong(&why))?;
    let collect = settings.collect.get(*name);
    let mut out = String::new();
    records::push(&mut out, &[format!("# name: {name}")]);
    if table.hit_policy.as_deref() == Some("collect") {
        let words =
            collect.into_iter().flatten().map(|(output, word)| format!(" {output}={}", word_of((*word).into())));
        records::push(&mut out, &[format!("# hit: collect{}", words.collect::<String>())]);
    }
    if settings.rows != Settings::default().rows {
        records::push(&mut out, &[format!("# rows: {}", settings.rows)]);
    }
    let extra = [("_description", "note"), ("_from", "from"), ("_until", "until")];
    let dated = |rule: &BTreeMap<String, Value>, key: &str| -> String {
        let dates = rule.get("_id").and_then(Value::as_str).and_then(|id| settings.dates.get(id));
        let date = dates.and_then(|dates| if key == "_from" { dates.from.clone() } else { dates.until.clone() });
        let written = rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if key == "_description" { written } else { date.unwrap_or(written) }
    };
    let used: Vec<_> =
        extra.into_iter().filter(|(key, _)| table.rules.iter().any(|rule| !dated(rule, key).is_empty())).collect();
    let names = heads.iter().map(|head| head.written.clone());
    records::push(&mut out, &names.chain(used.iter().map(|(_, name)| (*name).to_owned())).collect::<Vec<_>>());
    for rule in &table.rules {
        let cells = heads.iter().map(|head| {
            let cell = rule.get(&head.id).and_then(Value::as_str).unwrap_or_default().trim();
            if head.is_output { cells::bare_output(cell, head.kind) } else { cells::bare_input(cell, head.kind) }
        });
        let cells: Vec<String> = cells.chain(used.iter().map(|(key, _)| dated(rule, key))).collect();
        records::push(&mut out, &cells);
    }
    Ok(out)
}

fn word_of(aggregate: Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Sum => "sum",
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Count => "count",
    }
}

/// The output columns' types of a table that was written by hand: what the cells look like.
fn kind_of_outputs(table: &TableDef, id: &str) -> Option<selvedge_decision::manifest::Kind> {
    cells::kind(table.rules.iter().filter_map(|rule| rule.get(id).and_then(Value::as_str)))
}
