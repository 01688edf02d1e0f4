//! Heads of columns: `item.price: number candidate required`, `> boost`. Owns the words after the colon, in both directions.

use selvedge_decision::manifest::{Kind, Missing, MissingWord, Scalar, Scope};

use super::super::jdm::{ColumnDef, TableDef};
use super::super::settings::{InputDef, InputSpec, Settings, scope_of};
use super::cells;

/// A column that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) role: Role,
}

/// What a column is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Role {
    Input(InputSpec),
    Output(Kind),
    Note,
    From,
    Until,
    /// No head: nothing may stand in it.
    Nothing,
}

/// A column to write.
pub(super) struct Written {
    pub(super) id: String,
    pub(super) written: String,
    pub(super) kind: Kind,
    pub(super) is_output: bool,
}

// === impl Head ===

impl Head {
    /// Reads a head; `cells` are the column's, by which a type that is not said is known.
    pub(super) fn read<'c>(written: &str, cells: impl Iterator<Item = &'c str>) -> Result<Self, String> {
        let written = written.trim();
        let role = match written {
            "note" => Role::Note,
            "from" => Role::From,
            "until" => Role::Until,
            "" => Role::Nothing,
            _ => return Self::column(written, cells),
        };
        let mut cells = cells;
        if role == Role::Nothing && cells.any(|cell| !cell.trim().is_empty()) {
            return Err("a column has cells and no head".into());
        }
        Ok(Self { name: written.to_owned(), role })
    }

    fn column<'c>(written: &str, cells: impl Iterator<Item = &'c str>) -> Result<Self, String> {
        let (is_output, written) = match written.strip_prefix('>') {
            Some(rest) => (true, rest),
            None => (false, written),
        };
        let (name, words) = written.split_once(':').unwrap_or((written, ""));
        let name = name.trim().to_owned();
        let mut kind = None;
        let mut spec =
            InputSpec { kind: Kind::Number, scope: None, missing: Missing::Unsaid, symbols: Vec::new(), derive: None };
        let mut default = None;
        for word in words.split_whitespace() {
            match word {
                "number" => kind = Some(Kind::Number),
                "flag" => kind = Some(Kind::Flag),
                "symbol" => kind = Some(Kind::Symbol),
                "shared" => spec.scope = Some(Scope::Shared),
                "candidate" => spec.scope = Some(Scope::Candidate),
                "required" => spec.missing = Missing::Word(MissingWord::Error),
                _ => match word.split_once('=') {
                    Some(("default", value)) => default = Some(value.to_owned()),
                    _ => {
                        return Err(format!(
                            "the word {word:?} of its head is not known; known here: number, flag, symbol, shared, \
                             candidate, required, default=…"
                        ));
                    }
                },
            }
        }
        let kind = kind.or_else(|| cells::kind(cells)).unwrap_or(Kind::Number);
        if let Some(default) = default {
            spec.missing = Missing::Default { default: scalar(&default, kind)? };
        }
        if is_output && spec != (InputSpec { kind: spec.kind, ..unsaid() }) {
            return Err("an output has a type at most: `> boost: number`".into());
        }
        let role = if is_output { Role::Output(kind) } else { Role::Input(InputSpec { kind, ..spec }) };
        Ok(Self { name, role })
    }

    /// Its name and what is known of it, when it is an input.
    pub(super) fn input(&self) -> Option<(&str, InputDef)> {
        match &self.role {
            Role::Input(spec) => Some((&self.name, InputDef::Spec(spec.clone()))),
            _ => None,
        }
    }
}

fn unsaid() -> InputSpec {
    InputDef::Kind(Kind::Number).spec()
}

fn scalar(text: &str, kind: Kind) -> Result<Scalar, String> {
    match kind {
        Kind::Symbol => Ok(Scalar::Text(text.to_owned())),
        Kind::Flag => text.parse().map(Scalar::Flag).map_err(|_| format!("default={text} is neither true nor false")),
        Kind::Number | Kind::Vector => {
            text.parse().map(Scalar::Number).map_err(|_| format!("default={text} is no number"))
        }
    }
}

/// The heads of a table.
pub(super) fn write(table: &TableDef, settings: &Settings) -> Result<Vec<Written>, String> {
    let field = |column: &ColumnDef| column.field.as_deref().unwrap_or_default().trim().to_owned();
    let mut heads = Vec::new();
    for column in &table.inputs {
        let name = field(column);
        let spec = settings.inputs.get(&name).map(InputDef::spec);
        let Some(spec) = spec else {
            return Err(format!("the column `{name}` is no declared input; CSV has inputs as they come"));
        };
        if spec.derive.is_some() || !spec.symbols.is_empty() {
            return Err(format!("`{name}` has a function or a list of symbols, which a head of CSV cannot say"));
        }
        let mut written = format!("{name}: {}", spec.kind);
        if let Some(scope) = spec.scope.filter(|scope| *scope != scope_of(&name)) {
            written.push_str(if scope == Scope::Shared { " shared" } else { " candidate" });
        }
        match &spec.missing {
            Missing::Word(MissingWord::Error) => written.push_str(" required"),
            Missing::Default { default } => written.push_str(&format!(" default={}", told(default)?)),
            Missing::Word(MissingWord::NoMatch) | Missing::Unsaid => {}
        }
        heads.push(Written { id: column.id.clone(), written, kind: spec.kind, is_output: false });
    }
    for column in &table.outputs {
        let name = field(column);
        let kind = super::kind_of_outputs(table, &column.id).unwrap_or(Kind::Number);
        heads.push(Written { id: column.id.clone(), written: format!("> {name}: {kind}"), kind, is_output: true });
    }
    let columns = heads.iter().map(|head| head.written.split(':').next().unwrap_or_default());
    for name in settings.inputs.keys() {
        if !columns.clone().any(|column| column == name) {
            return Err(format!("`{name}` is no column of its own; CSV has one for every input"));
        }
    }
    Ok(heads)
}

fn told(default: &Scalar) -> Result<String, String> {
    match default {
        Scalar::Flag(flag) => Ok(flag.to_string()),
        Scalar::Number(number) => Ok(number.to_string()),
        Scalar::Text(text) if !text.contains(char::is_whitespace) => Ok(text.clone()),
        Scalar::Text(text) => Err(format!("the default {text:?} has spaces, which a head of CSV cannot say")),
    }
}
