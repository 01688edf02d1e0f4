//! The values of a program while it is made. Owns the inputs (declared, and the derived ones that rules ask for), what each
//! name means at a place, the numbering of values, and how much work a file may make.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use selvedge_decision::manifest::{Derive, Input, Kind, Missing, Scope};

use super::super::finding::Code;
use super::super::program::{Expr, Step, Type, Value, ValueId};
use super::super::settings::{InputSpec, scope_of};
use super::Wrong;
use crate::definitions::nearest;

/// The most values of a program: each is a local of the code.
const MAX_VALUES: usize = 10_000;
/// The most parts of expressions and names handed on of a file. A file of the largest size has fewer words.
const MAX_WORK: usize = 2_000_000;
/// What is told of a file that makes more.
pub const WORK_BOUND: &str = "parts of expressions and names handed on";
/// The most known names that one not known is compared with.
const MAX_NEAR: usize = 1_000;

/// What a place sees.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in super::super) struct Names {
    /// What nodes before gave, by name; places that see the same share it.
    pub(in super::super) given: Rc<BTreeMap<Rc<str>, Given>>,
    /// The inputs, when they are seen.
    pub(in super::super) inputs: Option<Inputs>,
    /// Groups that are empty when a table before fired no row.
    pub(in super::super) groups: BTreeSet<Rc<str>>,
    /// The group that is all that is seen, with a dot behind it; empty where everything is.
    pub(in super::super) group: String,
    /// Keys of the same expression node, as `$.key`.
    pub(in super::super) own: BTreeMap<String, ValueId>,
}

/// A value that is seen under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Given {
    pub(in super::super) value: ValueId,
    /// The flag without which it did not arrive, and is missing.
    pub(in super::super) when: Option<ValueId>,
}

/// The inputs, as they are seen at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Inputs {
    /// The part of their names that is left out.
    pub(in super::super) prefix: String,
    /// As [`Given::when`].
    pub(in super::super) when: Option<ValueId>,
}

/// The values made so far.
#[derive(Debug, Default)]
pub(in super::super) struct Builder {
    pub(in super::super) declared: BTreeMap<String, InputSpec>,
    pub(in super::super) inputs: Vec<Input>,
    pub(in super::super) input_values: Vec<ValueId>,
    pub(in super::super) values: Vec<Value>,
    pub(in super::super) texts: BTreeSet<String>,
    /// What must run before the next step: values that are seen under a condition only.
    pub(in super::super) asked: Vec<Step>,
    /// The place of an input by its name, and that of a derived one by its function.
    by_name: BTreeMap<String, usize>,
    by_function: BTreeMap<String, usize>,
    /// A value as it is seen when a flag is true, by flag and value; and back.
    gates: BTreeMap<(ValueId, ValueId), ValueId>,
    gated: BTreeMap<ValueId, (ValueId, ValueId)>,
    /// Text values that may be a text the rules do not know, and the input it comes from.
    open: BTreeMap<ValueId, Rc<str>>,
    work: usize,
}

// === impl Builder ===

impl Builder {
    pub(in super::super) fn new(declared: BTreeMap<String, InputSpec>) -> Self {
        Self { declared, ..Self::default() }
    }

    pub(in super::super) fn kind(&self, id: ValueId) -> Type {
        self.values[id.at()].kind
    }

    /// Counts so many parts of expressions, or names that are handed on.
    pub(in super::super) fn work(&mut self, parts: usize) -> Result<(), Wrong> {
        self.work = self.work.saturating_add(parts);
        if self.work > MAX_WORK {
            let message = format!("more than {MAX_WORK} {WORK_BOUND}");
            return Err(Wrong::new(Code::Limit, message, "split it into several modules"));
        }
        Ok(())
    }

    /// The work so far.
    pub(in super::super) fn worked(&self) -> usize {
        self.work
    }

    /// The flag without which `value` is missing, where it is such, and the value behind.
    pub(in super::super) fn behind(&self, value: ValueId) -> Option<(ValueId, ValueId)> {
        self.gated.get(&value).copied()
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
        if let Some(given) = names.given.get(name) {
            return self.gate(given.when, given.value);
        }
        if let Some(Inputs { prefix, when }) = &names.inputs {
            let full = format!("{prefix}{name}");
            if self.declared.contains_key(&full) {
                let id = self.input(&full)?;
                return self.gate(*when, id);
            }
        }
        Err(self.unknown(names, name))
    }

    fn unknown(&self, names: &Names, name: &str) -> Wrong {
        let message = format!("nothing gives `{name}`");
        if names.own.contains_key(name) {
            let advice = format!("a key of the same node is written `$.{name}`");
            return Wrong::new(Code::UnknownName, message, advice);
        }
        let given = names.given.keys().map(|name| &**name);
        let declared = names.inputs.iter().flat_map(|_| self.declared.keys());
        let declared = declared.filter_map(|name| name.strip_prefix(&names.group));
        let hint = nearest(name, given.chain(declared).take(MAX_NEAR));
        let hint = hint.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
        if let Some(group) = names.group.strip_suffix('.') {
            let message = format!("{message}: by its input field this node sees the group `{group}` only");
            let advice = format!("declare `{group}.{name}`, or leave the input field empty{hint}");
            return Wrong::new(Code::UnknownName, message, advice);
        }
        let advice = match &names.inputs {
            Some(_) => format!(
                "declare it in x-selvedge: \"inputs\": {{ \"{name}\": \"number\" }}, or \"flag\" or \"symbol\"{hint}"
            ),
            None => format!("the nodes before hand on their own keys only: turn on `passThrough` there{hint}"),
        };
        Wrong::new(Code::UnknownName, message, advice)
    }

    /// `value` as it is seen when the flag is true: else it is missing.
    pub(in super::super) fn gate(&mut self, when: Option<ValueId>, value: ValueId) -> Result<ValueId, Wrong> {
        let Some(when) = when else { return Ok(value) };
        if let Some(gate) = self.gates.get(&(when, value)) {
            return Ok(*gate);
        }
        let Value { name, kind, .. } = self.values[value.at()].clone();
        let gate = self.value(&name, kind)?;
        let expr = Expr::If(Box::new([Expr::Value(when), Expr::Value(value), Expr::Missing]));
        self.note_open(gate, &expr);
        self.asked.push(Step::Let { value: gate, expr, failed: None, active: None });
        self.gates.insert((when, value), gate);
        self.gated.insert(gate, (when, value));
        Ok(gate)
    }

    /// The input of this name, which is declared.
    pub(in super::super) fn input(&mut self, name: &str) -> Result<ValueId, Wrong> {
        if let Some(at) = self.by_name.get(name) {
            return Ok(self.input_values[*at]);
        }
        let Some(spec) = self.declared.get(name).cloned() else {
            return Err(Wrong::new(Code::UnknownName, format!("`{name}` is no declared input"), "declare it"));
        };
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
        if kind != Type::Text && !spec.symbols.is_empty() {
            return Err(Wrong::new(
                Code::Type,
                format!("`{name}` is a {} and has a list of symbols", spec.kind),
                "only a symbol has texts: leave the list out, or make it a symbol",
            ));
        }
        let is_open = kind == Type::Text && spec.symbols.is_empty();
        self.texts.extend(spec.symbols);
        self.by_name.insert(name.to_owned(), self.inputs.len());
        let id = self.add(
            Input {
                name: name.to_owned(),
                scope: spec.scope.unwrap_or_else(|| scope_of(name)),
                kind: spec.kind,
                symbols: Vec::new(),
                len: None,
                missing: spec.missing,
                derive: spec.derive,
            },
            kind,
        )?;
        if is_open {
            self.open.insert(id, Rc::from(name));
        }
        Ok(id)
    }

    fn add(&mut self, input: Input, kind: Type) -> Result<ValueId, Wrong> {
        let id = self.value(&input.name, kind)?;
        self.values[id.at()].scope = input.scope;
        if let Some(derive) = &input.derive {
            self.by_function.insert(format!("{derive:?}"), self.inputs.len());
        }
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
        let (when, subject) = match subject {
            Expr::Value(id) if kind == Some(Type::Text) => match self.behind(*id) {
                Some((when, value)) => (Some(when), Some(value)),
                None => (None, Some(*id)),
            },
            _ => (None, None),
        };
        // The values of inputs are in the order of their numbers.
        let input = subject.and_then(|id| self.input_values.binary_search(&id).ok()).map(|at| self.inputs[at].clone());
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
        let id = self.derived(&name, input.scope, Kind::Flag, derive)?;
        self.gate(when, id)
    }

    /// The number of seconds since 1970 at the decision.
    pub(in super::super) fn now(&mut self) -> Result<ValueId, Wrong> {
        self.derived("decision.epoch_seconds", Scope::Shared, Kind::Number, Derive::EpochSeconds)
    }

    fn derived(&mut self, name: &str, scope: Scope, kind: Kind, derive: Derive) -> Result<ValueId, Wrong> {
        if let Some(at) = self.by_function.get(&format!("{derive:?}")) {
            return Ok(self.input_values[*at]);
        }
        if let Some(declared) = self.declared.get(name) {
            if declared.derive.as_ref() == Some(&derive) {
                return self.input(name);
            }
            let function = serde_json::to_string(&derive).unwrap_or_default();
            return Err(Wrong::new(
                Code::Graph,
                format!(
                    "`{name}` is what a module reads here (dates read the time by it), and an input is declared so"
                ),
                format!("declare that input under another name, or with \"derive\": {function}"),
            ));
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

    fn open_input(&self, expr: &Expr) -> Option<Rc<str>> {
        let mut found = None;
        expr.each_value(&mut |id| found = found.take().or_else(|| self.open.get(&id).cloned()));
        found
    }

    /// Refuses to compare texts whose numbers cannot tell them apart.
    pub(super) fn check_texts<'e>(&self, a: &Expr, others: impl IntoIterator<Item = &'e Expr>) -> Result<(), Wrong> {
        let Some(open) = self.open_input(a) else { return Ok(()) };
        let other = others.into_iter().filter(|other| *other != a).find_map(|other| self.open_input(other));
        match other {
            Some(other) => Err(Wrong::new(
                Code::Unsupported,
                format!("`{open}` and `{other}` are compared, but no list says which texts they may have"),
                format!("list them in x-selvedge: \"{open}\": {{ \"type\": \"symbol\", \"symbols\": [\"…\"] }}"),
            )),
            None => Ok(()),
        }
    }
}
