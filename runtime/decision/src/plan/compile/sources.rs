//! Where the value of each input comes from: names of people become fields, context values and functions. Owns the messages
//! for names that are not there and types that do not fit.

use super::{Compiler, side, unknown};
use crate::definition::By;
use crate::layout::{FeatureKind, id_hash};
use crate::manifest::{Derive, Input, Kind, Scope};
use crate::plan::columns::{Source, kind_of};
use crate::plan::{Entity, IdOf, Key, TextTest};

/// What a name refers to.
pub(super) enum Reference {
    Feature(usize, usize),
    Context(usize, Kind),
}

impl Compiler<'_> {
    /// Makes sure that the row has a column for `input`.
    pub(super) fn need(&mut self, module: &str, input: &Input) -> Result<(), String> {
        let (source, scope) =
            self.source(input).map_err(|why| format!("module {module:?}, input {:?}: {why}", input.name))?;
        if scope == Scope::Candidate && input.scope == Scope::Shared {
            return Err(format!(
                "module {module:?}, input {:?}: differs between candidates, so its scope is `candidate`",
                input.name
            ));
        }
        if let Source::Product { a, b, .. } = &source {
            for part in [a, b] {
                let feature = Source::Feature { view: part.0, field: part.1 };
                let scope = self.scope_of_view(part.0)?;
                let name = self.feature_name(part.0, part.1);
                self.sources[side(scope)].entry(feature).or_insert(name);
            }
        }
        self.sources[side(input.scope)].entry(source).or_insert_with(|| input.name.clone());
        Ok(())
    }

    /// Where an input's value comes from and the row it belongs to. A shared value may be asked for in the candidate's row:
    /// it is then repeated there.
    pub(super) fn source(&self, input: &Input) -> Result<(Source, Scope), String> {
        let Some(derive) = &input.derive else { return self.plain_source(input) };
        let text = |of: &String, test: TextTest| -> Result<(Source, Scope), String> {
            match self.reference(of)? {
                Reference::Feature(view, field) => {
                    self.expect(view, field, FeatureKind::Symbol)?;
                    Ok((Source::FeatureText { view, field, test }, self.scope_of_view(view)?))
                }
                Reference::Context(index, Kind::Symbol) => Ok((Source::ContextText { index, test }, Scope::Shared)),
                Reference::Context(..) => Err(format!("{of:?} is not a symbol")),
            }
        };
        let vector = |of: &String| match self.reference(of)? {
            Reference::Feature(view, field) => self.expect(view, field, FeatureKind::Vector).map(|()| (view, field)),
            Reference::Context(..) => Err(format!("{of:?} is not a vector")),
        };
        let product = |a: &String, b: &String, cosine: bool| {
            let (a, b) = (vector(a)?, vector(b)?);
            let len = |(view, field): (usize, usize)| self.world.views[view].layout.fields()[field].len;
            if len(a) != len(b) {
                return Err(format!("the vectors have {} and {} values", len(a), len(b)));
            }
            let candidate = [a, b].iter().any(|part| self.scope_of_view(part.0) == Ok(Scope::Candidate));
            let scope = if candidate { Scope::Candidate } else { Scope::Shared };
            Ok((Source::Product { a, b, cosine }, scope))
        };
        let includes = |of: &String, id: IdOf| match self.reference(of)? {
            Reference::Feature(view, field) => {
                self.expect(view, field, FeatureKind::Ids)?;
                let scope = if id == IdOf::Candidate { Scope::Candidate } else { self.scope_of_view(view)? };
                Ok((Source::Includes { view, field, id }, scope))
            }
            Reference::Context(..) => Err(format!("{of:?} is not a list of ids")),
        };
        let is_list = |of: &String| match self.reference(of) {
            Ok(Reference::Feature(view, field)) => {
                self.world.views[view].layout.fields()[field].kind == FeatureKind::Ids
            }
            Ok(Reference::Context(..)) | Err(_) => false,
        };
        let kind = match derive {
            Derive::StartsWith { .. } | Derive::EndsWith { .. } | Derive::Contains { .. } | Derive::Includes { .. } => {
                Kind::Flag
            }
            _ => Kind::Number,
        };
        if input.kind != kind {
            return Err(format!("its function gives a {kind}, but its type is {}", input.kind));
        }
        match derive {
            Derive::StartsWith { of, text: part } => text(of, TextTest::StartsWith(part.clone())),
            Derive::EndsWith { of, text: part } => text(of, TextTest::EndsWith(part.clone())),
            Derive::Contains { of, text: part } if is_list(of) => includes(of, IdOf::Known(id_hash(part))),
            Derive::Contains { of, text: part } => text(of, TextTest::Contains(part.clone())),
            Derive::Includes { of, id } if id == "candidate.id" => includes(of, IdOf::Candidate),
            Derive::Includes { of, id } => match self.reference(id)? {
                Reference::Context(index, Kind::Symbol) => includes(of, IdOf::Context(index)),
                Reference::Context(..) | Reference::Feature(..) => {
                    Err(format!("{id:?} is neither candidate.id nor a context value that is a symbol"))
                }
            },
            Derive::Age { of } => match self.reference(of)? {
                Reference::Feature(view, field) => {
                    self.expect(view, field, FeatureKind::Time)?;
                    Ok((Source::Age { view, field }, self.scope_of_view(view)?))
                }
                Reference::Context(..) => Err(format!("{of:?} is not a time")),
            },
            Derive::MinuteOfDay => Ok((Source::MinuteOfDay, Scope::Shared)),
            Derive::DayOfWeek => Ok((Source::DayOfWeek, Scope::Shared)),
            Derive::EpochSeconds => Ok((Source::EpochSeconds, Scope::Shared)),
            Derive::Dot { a, b } => product(a, b, false),
            Derive::Cosine { a, b } => product(a, b, true),
        }
    }

    pub(super) fn plain_source(&self, input: &Input) -> Result<(Source, Scope), String> {
        if input.name == "candidate.id" {
            if input.kind != Kind::Symbol {
                return Err("candidate.id is a symbol".into());
            }
            return Ok((Source::CandidateId, Scope::Candidate));
        }
        let (kind, len, source, scope) = match self.reference(&input.name)? {
            Reference::Feature(view, field) => {
                let field_def = &self.world.views[view].layout.fields()[field];
                let scope = self.scope_of_view(view)?;
                let kind = kind_of(field_def.kind).ok_or_else(|| match field_def.kind {
                    FeatureKind::Ids => "is a list of ids there: a module asks whether it has one, by the function \
                                         `contains` or `includes`"
                        .to_owned(),
                    _ => "is a text there, which no module takes: make it a symbol".to_owned(),
                })?;
                (kind, field_def.len, Source::Feature { view, field }, scope)
            }
            Reference::Context(index, kind) => (kind, 1, Source::Context(index), Scope::Shared),
        };
        if kind != input.kind {
            return Err(format!("is a {} there, but the module takes a {}", kind, input.kind));
        }
        if kind == Kind::Vector && Some(len) != input.len {
            return Err(format!("has {len} values there, but the module takes {}", input.len.unwrap_or(0)));
        }
        Ok((source, scope))
    }

    pub(super) fn reference(&self, name: &str) -> Result<Reference, String> {
        let Some((view_name, feature)) = name.split_once('.') else {
            return Err(format!("{name:?} is neither `view.feature` nor `context.name`"));
        };
        if view_name == "context" {
            let found = self.def.context.iter().enumerate().find(|(_, (known, _))| *known == feature);
            return match found {
                Some((index, (_, kind))) => Ok(Reference::Context(index, *kind)),
                None => Err(unknown("context value", feature, self.def.context.keys().map(String::as_str))),
            };
        }
        let Some(view) = self.world.views.iter().position(|view| view.name == view_name) else {
            return Err(unknown("view", view_name, self.view_names()));
        };
        let fields = self.world.views[view].layout.fields();
        match fields.iter().position(|field| field.name == feature) {
            Some(field) => Ok(Reference::Feature(view, field)),
            None => {
                let known = fields.iter().map(|field| field.name.as_str());
                Err(unknown(&format!("feature of view {view_name:?}"), feature, known))
            }
        }
    }

    pub(super) fn expect(&self, view: usize, field: usize, kind: FeatureKind) -> Result<(), String> {
        let found = self.world.views[view].layout.fields()[field].kind;
        if found == kind {
            Ok(())
        } else {
            Err(format!("{:?} is a {found}, expected a {kind}", self.feature_name(view, field)))
        }
    }

    pub(super) fn feature_name(&self, view: usize, field: usize) -> String {
        let view = &self.world.views[view];
        format!("{}.{}", view.name, view.layout.fields()[field].name)
    }

    pub(super) fn entity(&self, view: usize) -> Result<Entity, String> {
        let key = |name: &str| match name {
            "subject" => Ok(Key::Subject),
            "session" => Ok(Key::Session),
            "item" => Ok(Key::Item),
            other if self.world.views[view].aggregates.is_some() => {
                let (of, field) = super::super::feature(self.world.views, other).ok_or_else(|| {
                    format!("view {:?} is by {other:?}, which is no feature", self.world.views[view].name)
                })?;
                let layout = &self.world.views[of].layout;
                let cell = layout.fields()[field].cell as usize;
                Ok(Key::Feature { view: of, cell, cells: layout.cells() })
            }
            other => {
                match other.strip_prefix("context.").map(|name| self.def.context.keys().position(|known| known == name))
                {
                    Some(Some(index)) if self.def.context.values().nth(index) == Some(&Kind::Symbol) => {
                        Ok(Key::Context(index))
                    }
                    Some(_) => Err(format!(
                        "view {:?} is by {other:?}: add it to `context` as a symbol",
                        self.world.views[view].name
                    )),
                    None => Err(format!(
                        "view {:?} is by {other:?}, expected subject, session, item or context.NAME",
                        self.world.views[view].name
                    )),
                }
            }
        };
        match &self.world.views[view].def.by {
            By::One(one) => Ok(Entity::One(key(one)?)),
            By::Pair([a, b]) => Ok(Entity::Pair(key(a)?, key(b)?)),
        }
    }

    pub(super) fn scope_of_view(&self, view: usize) -> Result<Scope, String> {
        Ok(if self.entity(view)?.is_candidate() { Scope::Candidate } else { Scope::Shared })
    }
}
