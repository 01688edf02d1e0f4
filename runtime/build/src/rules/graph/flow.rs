//! Who comes before whom, and what arrives. Owns the order of nodes, and the merging of what several nodes hand on: where
//! two give the same name, branches of a switch must keep them apart.

use std::collections::{BTreeMap, BTreeSet};

use super::super::check::{Names, Wrong};
use super::super::finding::{BadRules, Code, Finding, Place};
use super::super::jdm::{Content, Edge};
use super::super::program::{Expr, Step, ValueId};
use super::Graph;

/// What comes along one edge.
struct Arrival {
    names: Names,
    active: Option<Expr>,
    chosen: BTreeMap<usize, usize>,
    /// The node it comes from.
    from: usize,
}

/// What a node starts with.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) names: Names,
    pub(super) active: Option<Expr>,
    pub(super) chosen: BTreeMap<usize, usize>,
}

// === impl Graph ===

impl Graph<'_> {
    fn index(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// The nodes in an order in which each comes after all it needs.
    pub(super) fn order(&mut self) -> Result<Vec<usize>, BadRules> {
        let graph = |place: Place, message: String, advice: &str| {
            BadRules::one(Finding::error(Code::Graph, place, message, advice))
        };
        let whole = |message: &str, advice: &str| graph(Place::default(), message.to_owned(), advice);
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.nodes.iter().find(|node| !seen.insert(&node.id)) {
            return Err(graph(
                Place::table(&twice.name),
                format!("the node id {:?} stands twice", twice.id),
                "give each its own",
            ));
        }
        let count = |wanted: fn(&Content) -> bool| self.contents.iter().filter(|content| wanted(content)).count();
        if count(|content| matches!(content, Content::Input)) == 0 {
            return Err(whole("has no inputNode", "add one and connect it"));
        }
        match count(|content| matches!(content, Content::Output)) {
            1 => {}
            0 => return Err(whole("has no outputNode", "add one and connect it: what reaches it is the answer")),
            _ => return Err(whole("has several outputNodes", "lead all ways to one")),
        }
        let mut before = vec![0; self.nodes.len()];
        let mut after = vec![Vec::new(); self.nodes.len()];
        for (i, edge) in self.edges.iter().enumerate() {
            let end = |id: &str| {
                self.index(id)
                    .ok_or_else(|| whole(&format!("edges[{i}] names the node {id:?}, which is not there"), "remove it"))
            };
            let (source, target) = (end(&edge.source_id)?, end(&edge.target_id)?);
            before[target] += 1;
            after[source].push(target);
        }
        let mut ready: BTreeSet<usize> = (0..before.len()).filter(|at| before[*at] == 0).collect();
        let lost = ready.iter().find(|at| !matches!(self.contents[**at], Content::Input));
        if let Some(&at) = lost {
            let node = &self.nodes[at];
            return Err(graph(
                Place::table(&node.name),
                format!("no edge leads to node {:?}", node.id),
                "connect or remove it",
            ));
        }
        let mut order = Vec::new();
        while let Some(at) = ready.pop_first() {
            order.push(at);
            for &next in &after[at] {
                before[next] -= 1;
                if before[next] == 0 {
                    ready.insert(next);
                }
            }
        }
        if let Some(at) = (0..before.len()).find(|at| before[*at] > 0) {
            let names: Vec<_> =
                (0..before.len()).filter(|at| before[*at] > 0).take(5).map(|at| &self.nodes[at].name).collect();
            let message = format!("the edges make a circle through {names:?}");
            return Err(graph(Place::table(&self.nodes[at].name), message, "a decision flows one way: remove an edge"));
        }
        Ok(order)
    }

    /// Nodes from which the output is not reached.
    pub(super) fn leads_nowhere(&self) -> Vec<usize> {
        let output = self.contents.iter().position(|content| matches!(content, Content::Output));
        let mut reached: BTreeSet<usize> = output.into_iter().collect();
        let mut ahead: Vec<usize> = reached.iter().copied().collect();
        while let Some(at) = ahead.pop() {
            let incoming = self.edges.iter().filter(|edge| edge.target_id == self.nodes[at].id);
            for source in incoming.filter_map(|edge| self.index(&edge.source_id)) {
                if reached.insert(source) {
                    ahead.push(source);
                }
            }
        }
        (0..self.nodes.len()).filter(|at| !reached.contains(at)).collect()
    }

    /// What node `at` starts with: all that arrives, merged.
    pub(super) fn start(&mut self, at: usize) -> Result<Start, Wrong> {
        let edges = self.edges;
        let mut arrivals = Vec::new();
        for edge in edges.iter().filter(|edge| edge.target_id == self.nodes[at].id) {
            arrivals.extend(self.arrival(edge)?);
        }
        let active = match arrivals.iter().map(|arrival| arrival.active.clone()).collect::<Option<Vec<_>>>() {
            Some(mut parts) => {
                parts.dedup();
                self.active_value(parts)?
            }
            None => None,
        };
        let mut chosen = arrivals.first().map(|arrival| arrival.chosen.clone()).unwrap_or_default();
        chosen.retain(|switch, branch| arrivals.iter().all(|arrival| arrival.chosen.get(switch) == Some(branch)));
        Ok(Start { names: self.merge(&arrivals)?, active, chosen })
    }

    fn arrival(&self, edge: &Edge) -> Result<Option<Arrival>, Wrong> {
        let Some(from) = self.index(&edge.source_id) else { return Ok(None) };
        let source = &self.done[from];
        let mut arrival =
            Arrival { names: source.names.clone(), active: source.active.clone(), chosen: source.chosen.clone(), from };
        if let Content::Switch(switch) = &self.contents[from] {
            let handle = edge.source_handle.as_deref().unwrap_or_default();
            let statement = switch.statements.iter().position(|statement| statement.id == handle);
            let (Some(statement), Some(flag)) = (statement, source.branches.get(handle)) else {
                return Err(Wrong::new(
                    Code::Graph,
                    format!(
                        "an edge leaves the switch {:?} by {handle:?}, which is none of its statements",
                        self.nodes[from].name
                    ),
                    "draw the edge from a statement",
                ));
            };
            arrival.active = Some(Expr::Value(*flag));
            if switch.hit_policy.as_deref() != Some("collect") {
                arrival.chosen.insert(from, statement);
            }
        }
        Ok(Some(arrival))
    }

    fn merge(&mut self, arrivals: &[Arrival]) -> Result<Names, Wrong> {
        let mut names =
            Names { inputs: arrivals.iter().find_map(|arrival| arrival.names.inputs.clone()), ..Names::default() };
        let keys: BTreeSet<&String> = arrivals.iter().flat_map(|arrival| arrival.names.given.keys()).collect();
        for key in keys {
            let mut found: Option<(ValueId, Vec<usize>)> = None;
            for (i, arrival) in arrivals.iter().enumerate() {
                // An input of the same name arrives by a way on which nothing replaced it.
                let seen = arrival.names.inputs.is_some() && self.settings.inputs.contains_key(key);
                let id = match arrival.names.given.get(key) {
                    Some(id) => *id,
                    None if seen => self.builder.resolve(&arrival.names, key)?,
                    None => continue,
                };
                found = Some(match found.take() {
                    None => (id, vec![i]),
                    Some((before, mut from)) if before == id => {
                        from.push(i);
                        (before, from)
                    }
                    Some((before, mut from)) => {
                        if !from.iter().all(|at| apart(&arrivals[*at], arrival)) {
                            return Err(self.ambiguous(key, arrival, arrivals));
                        }
                        from.push(i);
                        (self.choice(key, arrival, id, before)?, from)
                    }
                });
            }
            names.given.extend(found.map(|(id, _)| (key.clone(), id)));
        }
        if let Some((outer, inner)) = names.given.keys().zip(names.given.keys().skip(1)).find(|(a, b)| is_within(b, a))
        {
            return Err(Wrong::new(
                Code::Graph,
                format!("`{outer}` is a value and, by `{inner}`, a group of values"),
                "give one of them another name",
            ));
        }
        Ok(names)
    }

    /// The value of `key`: what this arrival gives when it came, else what was there.
    fn choice(&mut self, key: &str, arrival: &Arrival, id: ValueId, before: ValueId) -> Result<ValueId, Wrong> {
        let Some(active) = arrival.active.clone() else { return Ok(id) };
        let (kind, other) = (self.builder.values[id.at()].kind, self.builder.values[before.at()].kind);
        super::super::check::one_type(Some(kind), Some(other), &format!("the branches' values of `{key}`"))?;
        let value = self.builder.value(key, kind)?;
        let expr = Expr::If(Box::new([active, Expr::Value(id), Expr::Value(before)]));
        self.builder.note_open(value, &expr);
        self.steps.push(Step::Let { value, expr, failed: None, active: None });
        Ok(value)
    }

    fn ambiguous(&self, key: &str, arrival: &Arrival, arrivals: &[Arrival]) -> Wrong {
        let mut names: Vec<&str> = arrivals
            .iter()
            .filter(|other| other.names.given.contains_key(key) || other.from == arrival.from)
            .map(|other| self.nodes[other.from].name.as_str())
            .collect();
        names.dedup();
        Wrong::new(
            Code::Graph,
            format!("`{key}` arrives here with different values, from {}", names.join(" and ")),
            "give them different names, or lead one node through the other",
        )
    }
}

/// Whether never both arrive: some switch chose different statements for them.
fn apart(a: &Arrival, b: &Arrival) -> bool {
    a.chosen.iter().any(|(switch, branch)| b.chosen.get(switch).is_some_and(|other| other != branch))
}

/// Whether `inner` lies within the group `outer`: `a.b` within `a`.
pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
}
