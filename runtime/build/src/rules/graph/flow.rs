//! Who comes before whom, and what arrives. Owns the order of nodes, and the merging of what several nodes hand on: what
//! comes from a node that did not run is missing, and where two give the same name, branches of a switch must keep them
//! apart.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::check::{Given, Inputs, Names, Wrong};
use super::super::finding::{BadRules, Code, Finding, Place};
use super::super::jdm::{Content, Edge};
use super::super::program::{Expr, Step, Type, ValueId};
use super::Graph;
use super::names::{all_inside, clash, inside, within};

/// The most names that one place may see, inputs apart.
const MAX_NAMES: usize = 2_000;
/// The most nodes of a circle that are told.
const MAX_TOLD: usize = 5;

/// What comes along one edge.
struct Arrival {
    names: Names,
    active: Option<ValueId>,
    chosen: BTreeMap<usize, usize>,
    /// The node it comes from.
    from: usize,
}

/// What a node starts with.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) names: Names,
    pub(super) active: Option<ValueId>,
    pub(super) chosen: BTreeMap<usize, usize>,
}

/// One value of a name, as one arrival brings it.
struct Brought {
    arrival: usize,
    value: ValueId,
    /// The flag without which the arrival does not come, and that without which it brings nothing.
    active: Option<ValueId>,
    when: Option<ValueId>,
}

impl Brought {
    /// The flags that must all be true.
    fn flags(&self) -> Vec<ValueId> {
        self.active.into_iter().chain(self.when).collect()
    }
}

// === impl Graph ===

impl<'f> Graph<'f> {
    /// The nodes in an order in which each comes after all it needs.
    pub(super) fn order(&mut self, edges: &'f [Edge]) -> Result<Vec<usize>, BadRules> {
        let graph = |place: Place, message: String, advice: &str| {
            BadRules::one(Finding::error(Code::Graph, place, message, advice))
        };
        let whole = |message: &str, advice: &str| graph(Place::default(), message.to_owned(), advice);
        let mut by_id = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if by_id.insert(node.id.as_str(), at).is_some() {
                let message = format!("the node id {:?} stands twice", node.id);
                return Err(graph(Place::table(&node.name), message, "give each its own"));
            }
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
        let mut after = vec![Vec::new(); self.nodes.len()];
        self.incoming = vec![Vec::new(); self.nodes.len()];
        let mut seen = BTreeSet::new();
        for (i, edge) in edges.iter().enumerate() {
            let end = |id: &str| {
                by_id
                    .get(id)
                    .copied()
                    .ok_or_else(|| whole(&format!("edges[{i}] names the node {id:?}, which is not there"), "remove it"))
            };
            let (source, target) = (end(&edge.source_id)?, end(&edge.target_id)?);
            // Only a switch has several ways out.
            let handle = match &self.contents[source] {
                Content::Switch(_) => edge.source_handle.as_deref().unwrap_or_default(),
                _ => "",
            };
            if !seen.insert((source, target, handle)) {
                let message = format!("edges[{i}] leads to node {:?} as one before it does", edge.target_id);
                return Err(graph(Place::table(&self.nodes[source].name), message, "remove one of them"));
            }
            self.incoming[target].push((source, handle));
            after[source].push(target);
        }
        let mut before: Vec<usize> = self.incoming.iter().map(Vec::len).collect();
        self.ahead = after.iter().map(Vec::len).collect();
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
            let circle = self.circle(at, &before);
            let names: Vec<_> = circle.iter().take(MAX_TOLD).map(|at| &self.nodes[*at].name).collect();
            let more = if circle.len() > MAX_TOLD { ", …" } else { "" };
            let message = format!("the edges make a circle through {names:?}{more}");
            let place = Place::table(&self.nodes[circle.first().copied().unwrap_or(at)].name);
            return Err(graph(place, message, "a decision flows one way: remove an edge"));
        }
        Ok(order)
    }

    /// A circle from which node `at` is reached: of the nodes that never come, each waits `before` for another of them.
    fn circle(&self, mut at: usize, before: &[usize]) -> Vec<usize> {
        let mut way = Vec::new();
        loop {
            if let Some(start) = way.iter().position(|seen| *seen == at) {
                // It was walked against the edges.
                let mut circle = way.split_off(start);
                circle.reverse();
                return circle;
            }
            way.push(at);
            let Some((source, _)) = self.incoming[at].iter().find(|(source, _)| before[*source] > 0) else {
                return way;
            };
            at = *source;
        }
    }

    /// Nodes from which the output is not reached.
    pub(super) fn leads_nowhere(&self) -> Vec<usize> {
        let output = self.contents.iter().position(|content| matches!(content, Content::Output));
        let mut reached: BTreeSet<usize> = output.into_iter().collect();
        let mut ahead: Vec<usize> = reached.iter().copied().collect();
        while let Some(at) = ahead.pop() {
            for &(source, _) in &self.incoming[at] {
                if reached.insert(source) {
                    ahead.push(source);
                }
            }
        }
        (0..self.nodes.len()).filter(|at| !reached.contains(at)).collect()
    }

    /// What node `at` starts with: all that arrives, merged.
    pub(super) fn start(&mut self, at: usize) -> Result<Start, Wrong> {
        let mut arrivals = Vec::new();
        for (from, handle) in self.incoming[at].clone() {
            arrivals.push(self.arrival(from, handle)?);
        }
        let actives: Option<BTreeSet<_>> =
            arrivals.iter().map(|arrival| arrival.active.map(|active| vec![active])).collect();
        let active = match actives {
            Some(ways) => self.either(ways)?,
            None => None,
        };
        let mut chosen = arrivals.first().map(|arrival| arrival.chosen.clone()).unwrap_or_default();
        chosen.retain(|switch, branch| arrivals.iter().all(|arrival| arrival.chosen.get(switch) == Some(branch)));
        // The answer is given whether anything arrives or not; any other node runs only when something does.
        let always = matches!(self.contents[at], Content::Output);
        let names = match &arrivals[..] {
            [only] if !always => only.names.clone(),
            _ => self.merge(&arrivals, always)?,
        };
        if names.given.len() > MAX_NAMES {
            let message = format!("{} names arrive here, at most {MAX_NAMES}", names.given.len());
            return Err(Wrong::new(Code::Limit, message, "turn off `passThrough` where they are not needed"));
        }
        Ok(Start { names, active, chosen })
    }

    /// Lets go of what the nodes before `at` handed on, when it was the last that reads it.
    pub(super) fn release(&mut self, at: usize) {
        for &(from, _) in &self.incoming[at] {
            self.ahead[from] -= 1;
            if self.ahead[from] == 0 {
                self.done[from].names = Names::default();
            }
        }
    }

    fn arrival(&self, from: usize, handle: &str) -> Result<Arrival, Wrong> {
        let source = &self.done[from];
        let mut arrival =
            Arrival { names: source.names.clone(), active: source.active, chosen: source.chosen.clone(), from };
        if let Content::Switch(switch) = &self.contents[from] {
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
            arrival.active = Some(*flag);
            if switch.hit_policy.as_deref() != Some("collect") {
                arrival.chosen.insert(from, statement);
            }
        }
        Ok(arrival)
    }

    fn merge(&mut self, arrivals: &[Arrival], always: bool) -> Result<Names, Wrong> {
        let mut names = Names::default();
        let mut given = BTreeMap::new();
        let keys: BTreeSet<&Rc<str>> = arrivals.iter().flat_map(|arrival| arrival.names.given.keys()).collect();
        for key in keys {
            let brought = self.brought(key, arrivals)?;
            let Some(Brought { value, .. }) = brought.first() else { continue };
            let seen = if brought.iter().all(|other| other.value == *value) {
                Given { value: *value, when: self.when(&brought, arrivals.len(), always)? }
            } else {
                Given { value: self.choice(key, &brought, arrivals)?, when: None }
            };
            given.insert(Rc::clone(key), seen);
        }
        if let Some((outer, inner)) = given.keys().find_map(|key| Some((within(&given, key)?, key))) {
            return Err(Wrong::new(
                Code::Graph,
                format!("`{outer}` is a value and, by `{inner}`, a group of values"),
                "give one of them another name",
            ));
        }
        self.check_groups(arrivals)?;
        if arrivals.iter().any(|arrival| arrival.names.inputs.is_some())
            && let Some((key, input)) = given.keys().find_map(|key| Some((key, clash(&self.settings.inputs, key)?)))
        {
            return Err(Wrong::new(
                Code::Graph,
                format!("`{key}` and the input `{input}` meet here: one is a value, the other a group of values"),
                "give one of them another name",
            ));
        }
        names.groups = arrivals.iter().flat_map(|arrival| arrival.names.groups.iter().cloned()).collect();
        names.given = Rc::new(given);
        let seen = arrivals.iter().enumerate().filter_map(|(at, arrival)| Some((at, arrival.names.inputs.as_ref()?)));
        // No single value: it stands for all inputs, which are always there.
        let brought: Vec<Brought> = seen
            .map(|(at, inputs)| Brought {
                arrival: at,
                value: ValueId(u32::MAX),
                active: arrivals[at].active,
                when: inputs.when,
            })
            .collect();
        if !brought.is_empty() {
            let when = self.when(&brought, arrivals.len(), always)?;
            names.inputs = Some(Inputs { prefix: String::new(), when });
        }
        Ok(names)
    }

    /// Refuses what GoRules would take away: a table that fires no row empties its group, and with it what other ways bring
    /// of that group, or not, by the order of the edges.
    fn check_groups(&mut self, arrivals: &[Arrival]) -> Result<(), Wrong> {
        let ones = arrivals.iter().flat_map(|one| one.names.groups.iter().map(move |group| (one, group)));
        for (one, group) in ones {
            self.builder.work(arrivals.len())?;
            for other in arrivals.iter().filter(|other| other.from != one.from && !apart(one, other)) {
                let given = all_inside(&other.names.given, group);
                let brings =
                    given.filter(|(name, given)| one.names.given.get(*name).map(|own| own.value) != Some(given.value));
                let input = other.names.inputs.is_some().then(|| inside(&self.settings.inputs, group)).flatten();
                let Some(name) = brings.map(|(name, _)| &**name).next().or(input) else { continue };
                let [one, other] = [one, other].map(|arrival| self.nodes[arrival.from].name.as_str());
                return Err(Wrong::new(
                    Code::Graph,
                    format!(
                        "`{group}` comes from {one}, and `{name}` from {other}: when a table fires no row, GoRules may take \
                         all of `{group}` away"
                    ),
                    "give the table a last row with blank cells, or another output path",
                ));
            }
        }
        Ok(())
    }

    /// The values that arrivals bring of a name that one of them gives: an input of that name comes by each way on which
    /// nothing replaced it.
    fn brought(&mut self, key: &str, arrivals: &[Arrival]) -> Result<Vec<Brought>, Wrong> {
        let mut brought = Vec::new();
        for (at, arrival) in arrivals.iter().enumerate() {
            self.builder.work(1)?;
            let (value, when) = match (arrival.names.given.get(key), &arrival.names.inputs) {
                (Some(given), _) => (given.value, given.when),
                (None, Some(inputs)) if self.settings.inputs.contains_key(key) => {
                    (self.builder.input(key)?, inputs.when)
                }
                _ => continue,
            };
            brought.push(Brought { arrival: at, value, active: arrival.active, when });
        }
        Ok(brought)
    }

    /// The flag without which a value is missing that all of `brought` bring.
    fn when(&mut self, brought: &[Brought], arrivals: usize, always: bool) -> Result<Option<ValueId>, Wrong> {
        // A node that runs is one at which something arrived.
        if !always && brought.len() == arrivals && brought.iter().all(|one| one.when.is_none()) {
            return Ok(None);
        }
        let own = brought.first().and_then(|one| self.missing_unless.get(&one.value)).copied();
        let ways = brought.iter().map(|one| one.flags().into_iter().filter(|flag| Some(*flag) != own).collect());
        self.either(ways.collect())
    }

    /// The value of `key`: of the arrivals that came, what the last one brings.
    fn choice(&mut self, key: &str, brought: &[Brought], arrivals: &[Arrival]) -> Result<ValueId, Wrong> {
        let mut value: Option<ValueId> = None;
        for (at, one) in brought.iter().enumerate() {
            let other = brought[..at]
                .iter()
                .find(|other| other.value != one.value && !apart(&arrivals[other.arrival], &arrivals[one.arrival]));
            if let Some(other) = other {
                return Err(self.ambiguous(key, [other, one].map(|one| &arrivals[one.arrival])));
            }
            let kinds = [Some(one.value), value].map(|value| value.map(|value| self.builder.kind(value)));
            super::super::check::one_type(kinds[0], kinds[1], &format!("the branches' values of `{key}`"))?;
            let Some(before) = value else {
                let when = self.when(std::slice::from_ref(one), 0, true)?;
                value = Some(self.builder.gate(when, one.value)?);
                continue;
            };
            let Some(when) = self.either(BTreeSet::from([one.flags()]))? else {
                value = Some(one.value);
                continue;
            };
            let chosen = self.builder.value(key, self.builder.kind(one.value))?;
            let expr = Expr::If(Box::new([Expr::Value(when), Expr::Value(one.value), Expr::Value(before)]));
            self.builder.note_open(chosen, &expr);
            self.step(Step::Let { value: chosen, expr, failed: None, active: None });
            value = Some(chosen);
        }
        value.ok_or_else(|| Wrong::new(Code::Graph, format!("nothing gives `{key}`"), "connect what gives it"))
    }

    /// A flag that is true when all flags of one of the ways are; `None` when one of them has none.
    fn either(&mut self, ways: BTreeSet<Vec<ValueId>>) -> Result<Option<ValueId>, Wrong> {
        if ways.iter().any(Vec::is_empty) {
            return Ok(None);
        }
        if let Some(flag) = self.either.get(&ways) {
            return Ok(Some(*flag));
        }
        let mut expr: Option<Expr> = None;
        for way in &ways {
            self.builder.work(way.len())?;
            let join = |a, b| Expr::And(Box::new(a), Box::new(b));
            let Some(all) = way.iter().map(|flag| Expr::Value(*flag)).reduce(join) else { continue };
            expr = Some(match expr.take() {
                Some(before) => Expr::Or(Box::new(before), Box::new(all)),
                None => all,
            });
        }
        let flag = match expr {
            None => return Ok(None),
            Some(Expr::Value(flag)) => flag,
            Some(expr) => {
                let value = self.builder.value("", Type::Flag)?;
                self.step(Step::Let { value, expr, failed: None, active: None });
                value
            }
        };
        self.either.insert(ways, flag);
        Ok(Some(flag))
    }

    fn ambiguous(&self, key: &str, arrivals: [&Arrival; 2]) -> Wrong {
        let [a, b] = arrivals.map(|arrival| self.nodes[arrival.from].name.as_str());
        Wrong::new(
            Code::Graph,
            format!("`{key}` arrives here with different values, from {a} and {b}"),
            "give them different names, or lead one node through the other",
        )
    }
}

/// Whether never both arrive: some switch chose different statements for them.
fn apart(a: &Arrival, b: &Arrival) -> bool {
    a.chosen.iter().any(|(switch, branch)| b.chosen.get(switch).is_some_and(|other| other != branch))
}
