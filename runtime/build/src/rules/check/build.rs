//! The values of a program while it is made. Owns the inputs (declared, and the derived ones that rules ask for), what each
//! name means at a place, and the numbering of values.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_decision::manifest::{Derive, Input, Kind, Missing, Scope};

use super::super::finding::Code;
use super::super::program::{Expr, Type, Value, ValueId};
use super::super::settings::{InputSpec, scope_of};
use super::Wrong;
use crate::definitions::nearest;

/// The most values of a program: each is a local of the code.
const MAX_VALUES: usize = 10_000;

/// What a place sees.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Names {
    /// What nodes before gave, by name.
    pub(in super::super) given: BTreeMap<String, ValueId>,
    /// Whether the inputs are seen, and the part of their names that is left out here.
    pub(in super::super) inputs: Option<String>,
    /// Keys of the same expression node, as `$.key`.
    pub(in super::super) own: BTreeMap<String, ValueId>,
}

/// The values made so far.
#[derive(Debug, Default)]
pub(in super::super) struct Builder {
    pub(in super::super) declared: BTreeMap<String, InputSpec>,
    pub(in super::super) inputs: Vec<Input>,
    pub(in super::super) input_values: Vec<ValueId>,
    pub(in super::super) values: Vec<Value>,
    pub(in super::super) texts: BTreeSet<String>,
    /// Text values that may be a text the rules do not know, and the input it comes from.
    open: BTreeMap<ValueId, String>,
}

// === impl Builder ===

impl Builder {
    pub(in super::super) fn new(declared: BTreeMap<String, InputSpec>) -> Self {
        Self { declared, ..Self::default() }
    }

    pub(super) fn kind(&self, id: ValueId) -> Type {
        self.values[id.at()].kind
    }

    /// A new value. Its scope is known when the steps are.
    pub(in super::super) fn value(&mut self, name: &str, kind: Type) -> Result<ValueId, Wrong> {
        if self.values.len() == MAX_VALUES {
            return Err(Wrong::new(
                Code::Limit,
                format!("more than {MAX_VALUES} inputs, keys and columns"),
                "split it into several modules",
            ));
        }
        self.values.push(Value { name: name.to_owned(), kind, scope: Scope::Shared });
        Ok(ValueId(self.values.len() as u32 - 1))
    }

    /// What `name` is where `names` are seen.
    pub(in super::super) fn resolve(&mut self, names: &Names, name: &str) -> Result<ValueId, Wrong> {
        if let Some(own) = name.strip_prefix("$.") {
            return names.own.get(own).copied().ok_or_else(|| {
                Wrong::new(
                    Code::UnknownName,
                    format!("`{name}`: no key {own:?} stands before it in this node"),
                    "`$.key` is a key of the same expression node",
                )
            });
        }
        if let Some(id) = names.given.get(name) {
            return Ok(*id);
        }
        if let Some(prefix) = &names.inputs {
            let full = format!("{prefix}{name}");
            if let Some(spec) = self.declared.get(&full).cloned() {
                return self.input(&full, &spec);
            }
        }
        let known = names.given.keys().chain(names.inputs.iter().flat_map(|_| self.declared.keys()));
        let hint = nearest(name, known.map(String::as_str)).map(|known| format!("; did you mean `{known}`?"));
        let advice = match &names.inputs {
            Some(_) => format!(
                "declare it in x-selvedge: \"inputs\": {{ \"{name}\": \"number\" }}, or \"flag\" or \"symbol\"{}",
                hint.unwrap_or_default()
            ),
            None => format!(
                "the nodes before hand on their own keys only: turn on `passThrough` there{}",
                hint.unwrap_or_default()
            ),
        };
        Err(Wrong::new(Code::UnknownName, format!("nothing gives `{name}`"), advice))
    }

    fn input(&mut self, name: &str, spec: &InputSpec) -> Result<ValueId, Wrong> {
        if let Some(at) = self.inputs.iter().position(|input| input.name == name) {
            return Ok(self.input_values[at]);
        }
        let kind = match spec.kind {
            Kind::Number => Type::Number,
            Kind::Flag => Type::Flag,
            Kind::Symbol => Type::Text,
            Kind::Vector => {
                return Err(Wrong::new(
                    Code::Unsupported,
                    format!("{name}: rules take no vectors"),
                    "derive a number: \"derive\": { \"fn\": \"dot\", \"a\": \"user.taste\", \"b\": \"item.look\" }",
                ));
            }
        };
        self.texts.extend(spec.symbols.iter().cloned());
        let id = self.add(
            Input {
                name: name.to_owned(),
                scope: spec.scope.unwrap_or_else(|| scope_of(name)),
                kind: spec.kind,
                symbols: Vec::new(),
                len: None,
                missing: spec.missing.clone(),
                derive: spec.derive.clone(),
            },
            kind,
        )?;
        if kind == Type::Text && spec.symbols.is_empty() {
            self.open.insert(id, name.to_owned());
        }
        Ok(id)
    }

    fn add(&mut self, input: Input, kind: Type) -> Result<ValueId, Wrong> {
        let id = self.value(&input.name, kind)?;
        self.values[id.at()].scope = input.scope;
        self.inputs.push(input);
        self.input_values.push(id);
        Ok(id)
    }

    /// The flag input that says whether a text input passes a test of its text.
    pub(super) fn text_test(
        &mut self,
        function: &str,
        subject: &Expr,
        kind: Option<Type>,
        part: &str,
    ) -> Result<ValueId, Wrong> {
        let input = match subject {
            Expr::Value(id) if kind == Some(Type::Text) => {
                self.input_values.iter().position(|value| value == id).map(|at| self.inputs[at].clone())
            }
            _ => None,
        };
        let Some(input) = input.filter(|input| input.derive.is_none()) else {
            return Err(Wrong::new(
                Code::Unsupported,
                format!("`{function}` works on a symbol input only: the node computes it before the call"),
                "give it the input itself",
            ));
        };
        let (of, text) = (input.name.clone(), part.to_owned());
        let derive = match function {
            "startsWith" => Derive::StartsWith { of, text },
            "endsWith" => Derive::EndsWith { of, text },
            _ => Derive::Contains { of, text },
        };
        let name = format!("{function}({}, {part:?})", input.name);
        if name.len() > 200 {
            return Err(Wrong::new(Code::Limit, format!("`{function}`: the text is too long"), "use a shorter part"));
        }
        self.derived(&name, input.scope, Kind::Flag, derive)
    }

    /// The number of seconds since 1970 at the decision.
    pub(in super::super) fn now(&mut self) -> Result<ValueId, Wrong> {
        self.derived("decision.epoch_seconds", Scope::Shared, Kind::Number, Derive::EpochSeconds)
    }

    fn derived(&mut self, name: &str, scope: Scope, kind: Kind, derive: Derive) -> Result<ValueId, Wrong> {
        if let Some(at) = self.inputs.iter().position(|input| input.derive.as_ref() == Some(&derive)) {
            return Ok(self.input_values[at]);
        }
        let missing = Missing::Unsaid;
        let input =
            Input { name: name.to_owned(), scope, kind, symbols: Vec::new(), len: None, missing, derive: Some(derive) };
        self.add(input, if kind == Kind::Flag { Type::Flag } else { Type::Number })
    }

    /// Notes that `value` is what `expr` gives: it may be a text the rules do not know when a part of it may.
    pub(in super::super) fn note_open(&mut self, value: ValueId, expr: &Expr) {
        if self.kind(value) == Type::Text
            && let Some(input) = self.open_input(expr)
        {
            self.open.insert(value, input);
        }
    }

    fn open_input(&self, expr: &Expr) -> Option<String> {
        let mut found = None;
        expr.each_value(&mut |id| found = found.take().or_else(|| self.open.get(&id).cloned()));
        found
    }

    /// Refuses to compare two texts whose numbers cannot tell them apart.
    pub(super) fn check_texts(&self, a: &Expr, b: &Expr) -> Result<(), Wrong> {
        match (self.open_input(a), self.open_input(b)) {
            (Some(open), Some(other)) if a != b => Err(Wrong::new(
                Code::Unsupported,
                format!("`{open}` and `{other}` are compared, but no list says which texts they may have"),
                format!("list them in x-selvedge: \"{open}\": {{ \"type\": \"symbol\", \"symbols\": [\"…\"] }}"),
            )),
            _ => Ok(()),
        }
    }
}
