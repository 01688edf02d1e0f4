//! Heads of columns: `item.price: number candidate required`, `> boost`. Owns the words after the colon, in both directions.

use selvedge_decision::manifest::{Kind, Missing, MissingWord, Scalar, Scope};

use super::super::settings::{InputDef, InputSpec, scope_of};

/// A head that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) role: Role,
}

/// What a column is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Role {
    Input(Said),
    /// Its type, when it is said.
    Output(Option<Kind>),
    Note,
    From,
    Until,
    /// No head: nothing may stand in it.
    Nothing,
}

/// What the head of an input says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    pub(super) kind: Option<Kind>,
    scope: Option<Scope>,
    required: bool,
    default: Option<String>,
}

// === impl Head ===

impl Head {
    pub(super) fn read(written: &str) -> Result<Self, String> {
        let written = written.trim();
        let role = match written {
            "note" => Role::Note,
            "from" => Role::From,
            "until" => Role::Until,
            "" => Role::Nothing,
            _ if ["note", "from", "until"].contains(&written.to_lowercase().as_str()) => {
                let word = written.to_lowercase();
                return Err(format!(
                    "write `{word}` in small letters, or `{written}: symbol` for an input of that name"
                ));
            }
            _ => return Self::column(written),
        };
        Ok(Self { name: written.to_owned(), role })
    }

    /// The type it says.
    pub(super) fn kind(&self) -> Option<Kind> {
        match &self.role {
            Role::Input(said) => said.kind,
            Role::Output(kind) => *kind,
            Role::Note | Role::From | Role::Until | Role::Nothing => None,
        }
    }

    fn column(written: &str) -> Result<Self, String> {
        let (is_output, written) = match written.strip_prefix('>') {
            Some(rest) => (true, rest),
            None => (false, written),
        };
        let (name, words) = written.split_once(':').unwrap_or((written, ""));
        let name = name.trim().to_owned();
        let mut said = Said::default();
        for word in words.split_whitespace() {
            match word {
                "number" => said.kind = Some(Kind::Number),
                "flag" => said.kind = Some(Kind::Flag),
                "symbol" => said.kind = Some(Kind::Symbol),
                "shared" => said.scope = Some(Scope::Shared),
                "candidate" => said.scope = Some(Scope::Candidate),
                "required" => said.required = true,
                _ => match word.split_once('=') {
                    Some(("default", value)) => said.default = Some(value.to_owned()),
                    _ => {
                        return Err(format!(
                            "the word {word:?} of its head is not known; known here: number, flag, symbol, shared, \
                             candidate, required, default=…"
                        ));
                    }
                },
            }
        }
        if said.required && said.default.is_some() {
            return Err("its head says `required` and a default: one of them would never count".into());
        }
        if !is_output {
            return Ok(Self { name, role: Role::Input(said) });
        }
        if said != (Said { kind: said.kind, ..Said::default() }) {
            return Err("an output has a type at most: `> boost: number`".into());
        }
        Ok(Self { name, role: Role::Output(said.kind) })
    }
}

// === impl Said ===

impl Said {
    /// All that is known of the input when its type is.
    pub(super) fn spec(&self, kind: Kind) -> Result<InputSpec, String> {
        let missing = match &self.default {
            Some(default) => Missing::Default { default: scalar(default, kind)? },
            None if self.required => Missing::Word(MissingWord::Error),
            None => Missing::Unsaid,
        };
        Ok(InputSpec { scope: self.scope, missing, ..InputDef::Kind(kind).spec() })
    }
}

fn scalar(text: &str, kind: Kind) -> Result<Scalar, String> {
    match kind {
        Kind::Symbol => Ok(Scalar::Text(text.to_owned())),
        Kind::Flag => text.parse().map(Scalar::Flag).map_err(|_| format!("default={text} is neither true nor false")),
        Kind::Number | Kind::Vector => match text.parse() {
            Ok(number) if f64::is_finite(number) => Ok(Scalar::Number(number)),
            _ => Err(format!("default={text} is no number")),
        },
    }
}

/// The head of an input column.
pub(super) fn write(name: &str, spec: &InputSpec) -> Result<String, String> {
    let mut written = format!("{name}: {}", spec.kind);
    if let Some(scope) = spec.scope.filter(|scope| *scope != scope_of(name)) {
        written.push_str(if scope == Scope::Shared { " shared" } else { " candidate" });
    }
    match &spec.missing {
        Missing::Word(MissingWord::Error) => written.push_str(" required"),
        Missing::Default { default } => written.push_str(&format!(" default={}", told(default)?)),
        Missing::Word(MissingWord::NoMatch) | Missing::Unsaid => {}
    }
    Ok(written)
}

fn told(default: &Scalar) -> Result<String, String> {
    match default {
        Scalar::Flag(flag) => Ok(flag.to_string()),
        Scalar::Number(number) => Ok(number.to_string()),
        Scalar::Text(text) if !text.is_empty() && !text.contains(char::is_whitespace) => Ok(text.clone()),
        Scalar::Text(text) => {
            Err(format!("the default {text:?} is empty or has spaces, which a head of CSV cannot say"))
        }
    }
}
