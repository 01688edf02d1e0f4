//! Decision tables as CSV, as a spreadsheet saves them. Owns the words of its heads and the bare texts of its cells; the table
//! itself becomes a JDM file of one table, so everything else is said once.
//!
//! The first line that is no comment names the columns: `user.segment: symbol` is an input, `> boost` an output, `note`,
//! `from` and `until` are what they say. Lines before it that begin with `#` set what concerns the whole table.

mod cells;
mod head;
mod looks;
mod options;
mod records;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::manifest::Kind;
use serde_json::{Value, json};

use self::cells::Inputs;
use self::head::{Head, Role};
use self::options::Options;
use self::records::{Cell, Sheet};
use super::finding::{BadRules, Code, Finding, MAX_FINDINGS, Place};
use super::graph::needed_kind;
use super::jdm::{self, File};
use super::settings::{InputDef, Settings};

pub(super) use self::write::{compare, write};

/// A column with its type, where it has one.
struct Column {
    head: Head,
    kind: Kind,
}

/// A table in the form of a file of one table; `beside` is what the TOML file beside it says.
pub(super) fn read(name: &str, bytes: &[u8], beside: Option<Settings>) -> Result<(File, Settings), BadRules> {
    let whole = |message: String, advice: &str| bad(Code::Form, Place::default(), message, advice);
    if bytes.len() > jdm::MAX_FILE_BYTES {
        let message = format!("{} bytes, at most {}", bytes.len(), jdm::MAX_FILE_BYTES);
        return Err(bad(Code::Limit, Place::default(), message, "split it into several files"));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| whole(format!("not UTF-8: {error}"), "save it as \"CSV UTF-8\""))?;
    let Sheet { between, records } = records::read(text).map_err(|(why, advice)| whole(why, advice))?;
    let mut records = records.into_iter();
    let mut settings = Settings::default();
    let mut options = Options::new(name);
    let names = loop {
        let Some(record) = records.next() else {
            let advice = "begin with such as `user.segment,> boost`";
            return Err(whole("has no line that names the columns".into(), advice));
        };
        match records::comment(&record, between) {
            Some(option) => options.take(&option, &mut settings).map_err(|why| {
                whole(why, "known here: # name: …, # hit: first, # hit: collect boost=sum, # rows: 1024")
            })?,
            None => break record,
        }
    };
    let records: Vec<Vec<Cell>> = records.collect();
    let table = Place::table(&options.name);
    if names.len().saturating_mul(records.len() + 1) > jdm::MAX_CELLS {
        let message = format!("{} columns and {} rows, at most {} cells", names.len(), records.len(), jdm::MAX_CELLS);
        return Err(bad(Code::Limit, table, message, "split it into several modules"));
    }
    let mut heads = Vec::new();
    for name in &names {
        let read = Head::read(name.text());
        let advice = "write an input as `item.price: number`, an output as `> boost`";
        heads.push(read.map_err(|why| bad(Code::Form, table.clone().column(name.text()), why, advice))?);
    }
    for (row, record) in records.iter().enumerate() {
        if record.len() > heads.len() {
            let message = format!("has {} cells, the first line names {} columns", record.len(), heads.len());
            return Err(bad(Code::Form, table.clone().row(row), message, "put cells with commas in quotes"));
        }
        let nothing =
            heads.iter().zip(record).any(|(head, cell)| head.role == Role::Nothing && !cell.text().is_empty());
        if nothing {
            let advice = "name the column, `note` if it is for people";
            return Err(bad(Code::Form, table.clone().row(row), "has a cell in a column without head".into(), advice));
        }
        if let [only] = &record[..]
            && only.text().starts_with('#')
            && !only.is_quoted
        {
            let message = format!("`{}` and nothing else: a comment or a row?", only.text());
            let advice =
                "comments stand above the line that names the columns; a text that begins with # stands in quotes";
            return Err(bad(Code::Form, table.clone().row(row), message, advice));
        }
    }
    let mut seen = BTreeSet::new();
    for (head, name) in heads.iter().zip(&names) {
        if matches!(head.role, Role::Input(_)) && !seen.insert(&head.name) {
            let message = format!("the column `{}` stands twice", head.name);
            let place = table.column(name.text());
            return Err(bad(Code::Form, place, message, "write `> 5 and < 10` into one cell"));
        }
    }
    let columns = columns(&options.name, heads, &records, beside.as_ref(), &mut settings)?;
    if options.is_collect {
        settings.collect.insert(options.name.clone(), std::mem::take(&mut options.collect));
    }
    let file = file(&options, &columns, &records)?;
    Ok((file, settings.with(beside)))
}

fn bad(code: Code, place: Place, message: String, advice: &str) -> BadRules {
    BadRules::one(Finding::error(code, place, message, advice))
}

/// The types of all columns: the head's, that of the file beside, or what the cells look like.
fn columns(
    table: &str,
    heads: Vec<Head>,
    records: &[Vec<Cell>],
    beside: Option<&Settings>,
    settings: &mut Settings,
) -> Result<Vec<Column>, BadRules> {
    let declared = beside.iter().flat_map(|beside| beside.inputs.iter());
    let declared: BTreeMap<&str, Kind> = declared.map(|(name, def)| (name.as_str(), def.spec().kind)).collect();
    let mut inputs = declared.clone();
    for head in &heads {
        let Role::Input(said) = &head.role else { continue };
        let Some(kind) = said.kind else { continue };
        if let Some(other) = declared.get(head.name.as_str()).filter(|other| **other != kind) {
            let message = format!("its head says {kind}, and the .toml beside the file says {other}");
            return Err(bad(Code::Type, Place::table(table).column(&head.name), message, "keep one of them"));
        }
        inputs.insert(&head.name, kind);
    }
    let cells = |at: usize| records.iter().map(move |record| record.get(at).map_or("", Cell::text));
    let drift = |at: usize, is_output: bool, rows: [usize; 2]| {
        let [a, b] = rows.map(|row| cells(at).nth(row).unwrap_or_default());
        let name = &heads[at].name;
        let place = Place::table(table).row(rows[1]).column(name).cell(b);
        let message = format!("is of another type than `{a}` in row {}", rows[0] + 1);
        let (code, sign) = if is_output { (Code::OutputType, "> ") } else { (Code::Type, "") };
        let advice = format!("mend the cell, or say the type in the head: `{sign}{name}: symbol`");
        bad(code, place, message, &advice)
    };
    let mut kinds: Vec<Option<Kind>> = vec![None; heads.len()];
    for (at, head) in heads.iter().enumerate() {
        if let Role::Input(_) = &head.role {
            let known = inputs.get(head.name.as_str()).copied();
            let kind = match known {
                Some(kind) => kind,
                None => {
                    let looks = looks::kind_of_inputs(cells(at), &inputs).map_err(|rows| drift(at, false, rows))?;
                    looks.unwrap_or(Kind::Number)
                }
            };
            inputs.insert(&head.name, kind);
            kinds[at] = Some(kind);
        }
    }
    for (at, head) in heads.iter().enumerate() {
        if let Role::Output(said) = &head.role {
            kinds[at] = match said.or_else(|| needed_kind(&head.name)) {
                Some(kind) => Some(kind),
                None => looks::kind_of_outputs(cells(at), &inputs).map_err(|rows| drift(at, true, rows))?,
            };
        }
    }
    for (at, head) in heads.iter().enumerate() {
        let (is_output, sign) = match &head.role {
            Role::Input(_) if !declared.contains_key(head.name.as_str()) => (false, ""),
            Role::Output(_) => (true, "> "),
            _ => continue,
        };
        if head.kind().is_some() || kinds[at] != Some(Kind::Number) {
            continue;
        }
        let unclear = cells(at).enumerate().find_map(|(row, cell)| Some((row, cell, looks::unclear(cell, is_output)?)));
        if let Some((row, cell, why)) = unclear {
            let name = &head.name;
            let place = Place::table(table).row(row).column(name).cell(cell);
            let advice = format!(
                "say the type in the head: `{sign}{name}: symbol` for a text, `{sign}{name}: number` for a number"
            );
            return Err(bad(Code::Type, place, why.to_owned(), &advice));
        }
    }
    let mut columns = Vec::new();
    for (head, kind) in heads.iter().zip(&kinds) {
        let kind = kind.unwrap_or(Kind::Number);
        if let Role::Input(said) = &head.role {
            let spec = said.spec(kind).map_err(|why| {
                bad(Code::Form, Place::table(table).column(&head.name), why, "write a value of the column's type")
            })?;
            settings.inputs.insert(head.name.clone(), InputDef::Spec(spec));
        }
        columns.push(Column { head: head.clone(), kind });
    }
    Ok(columns)
}

fn file(options: &Options, columns: &[Column], records: &[Vec<Cell>]) -> Result<File, BadRules> {
    let id = |at: usize| format!("c{at}");
    let of = |wanted: fn(&Role) -> bool| -> Vec<Value> {
        let columns = columns.iter().enumerate().filter(|(_, column)| wanted(&column.head.role));
        columns
            .map(|(at, column)| json!({ "id": id(at), "name": column.head.name, "field": column.head.name }))
            .collect()
    };
    let inputs: Inputs<'_> = columns
        .iter()
        .filter(|column| matches!(column.head.role, Role::Input(_)))
        .map(|column| (column.head.name.as_str(), column.kind))
        .collect();
    let mut rules: Vec<BTreeMap<String, String>> = Vec::new();
    let mut written = Vec::new();
    let mut findings = Vec::new();
    for (row, record) in records.iter().enumerate() {
        let mut rule = BTreeMap::from([("_id".to_owned(), format!("r{}", row + 1))]);
        let mut as_written = BTreeMap::new();
        for (at, Column { head, kind }) in columns.iter().enumerate() {
            let cell = record.get(at).map_or("", Cell::text);
            let (key, read) = match &head.role {
                Role::Input(_) => (id(at), cells::input(cell, *kind, &inputs)),
                Role::Output(_) => (id(at), cells::output(cell, *kind, &inputs)),
                Role::Note => ("_description".to_owned(), Ok(cell.to_owned())),
                Role::From => ("_from".to_owned(), Ok(cell.to_owned())),
                Role::Until => ("_until".to_owned(), Ok(cell.to_owned())),
                Role::Nothing => continue,
            };
            let is_language = matches!(head.role, Role::Input(_) | Role::Output(_))
                && (*kind != Kind::Symbol || cells::is_language(cell));
            let read = match read {
                // A comma in a cell may be meant to part a number, here or in thousands.
                Ok(_) if is_language && cells::has_comma_in_number(cell) => Err(
                    "a number has a point and no comma, `1.5`, `1000`; in a list a space stands behind a comma, `1, 5`"
                        .to_owned(),
                ),
                read => read,
            };
            match read {
                Ok(read) => drop(rule.insert(key.clone(), read)),
                Err(why) if findings.len() < MAX_FINDINGS => {
                    let place = Place::table(&options.name).row(row).column(&head.name).cell(cell);
                    findings.push(Finding::error(Code::Syntax, place, why, ""));
                }
                Err(_) => {}
            }
            as_written.insert(key, cell.to_owned());
        }
        rules.push(rule);
        written.push(as_written);
    }
    if !findings.is_empty() {
        return Err(BadRules { findings });
    }
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
    let read = serde_json::from_value::<File>(whole);
    let file = read.map_err(|error| bad(Code::Form, Place::default(), error.to_string(), ""))?;
    Ok(File { written, ..file })
}
