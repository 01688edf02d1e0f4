//! Policies: what each of them needs and what it must not have, and the bandits that learn for them.

use std::sync::Arc;

use super::ways::Parts;
use super::{Compiler, Problems};
use crate::definition::{Choose, Model as ModelName, Policy as PolicyName, Span};
use crate::plan::Bandit;
use crate::policy::{Policy, PolicyKind};

/// The longest time after its decision at which a reward may count: what came about must be remembered so long.
const MAX_WINDOW: Span = Span::from_us(30 * 86_400_000_000);
/// The most actions of a policy that learns: who of them is the best is computed while somebody waits.
const MAX_LEARNED: usize = 200;
/// Half-lives are counted in eighths of whole minutes.
const SHORTEST_HALF_LIFE: Span = Span::from_us(8 * 60_000_000);

impl Compiler<'_> {
    pub(super) fn policy(
        &self,
        what: &str,
        def: &Choose,
        parts: &Parts<'_>,
        bandit: Bandit,
        bandits: &mut Vec<Bandit>,
        problems: &mut Problems,
    ) -> Policy {
        let mut add = |why: String| problems.add(&self.at, format!("{what}choose: {why}"));
        let name = match def.policy {
            PolicyName::Argmax => "argmax",
            PolicyName::Epsilon => "epsilon",
            PolicyName::Softmax => "softmax",
            PolicyName::Thompson => "thompson",
        };
        for (key, is_said, of) in [
            ("epsilon", def.epsilon.is_some(), PolicyName::Epsilon),
            ("temperature", def.temperature.is_some(), PolicyName::Softmax),
            ("reward", def.reward.is_some(), PolicyName::Thompson),
            ("window", def.window.is_some(), PolicyName::Thompson),
            ("prior", def.prior.is_some(), PolicyName::Thompson),
            ("half_life", def.half_life.is_some(), PolicyName::Thompson),
            ("model", def.model.is_some(), PolicyName::Thompson),
            ("features", !def.features.is_empty(), PolicyName::Thompson),
            ("precision", def.precision.is_some(), PolicyName::Thompson),
        ] {
            if is_said && of != def.policy {
                add(format!("{name} has no `{key}`: leave it out"));
            }
        }
        let share = |key: &str, value: Option<f64>, default: f64, add: &mut dyn FnMut(String)| {
            let value = value.unwrap_or(default);
            if !(0.0..=1.0).contains(&value) {
                add(format!("{key} is {value}, expected a share from 0 to 1"));
            }
            value
        };
        let floor = share("floor", def.floor, 0.0, &mut add);
        let budget = share("budget", def.budget, 1.0, &mut add);
        let actions = self.def.actions.len();
        if actions > 0 && floor * actions as f64 > 1.0 {
            add(format!("floor is {floor} for each of {actions} actions: together more than 1"));
        }
        let kind = match def.policy {
            PolicyName::Argmax => PolicyKind::Argmax,
            PolicyName::Epsilon => {
                if def.epsilon.is_none() {
                    add("epsilon needs `epsilon`, the share of draws that take any candidate".into());
                }
                PolicyKind::Epsilon(share("epsilon", def.epsilon, 0.0, &mut add))
            }
            PolicyName::Softmax => match def.temperature {
                Some(temperature) if temperature > 0.0 && temperature.is_finite() => PolicyKind::Softmax(temperature),
                Some(temperature) => {
                    add(format!("temperature is {temperature}, expected a number above 0"));
                    PolicyKind::Argmax
                }
                None => {
                    add("softmax needs `temperature`, the difference of scores that makes one e times as likely".into());
                    PolicyKind::Argmax
                }
            },
            PolicyName::Thompson => PolicyKind::Thompson,
        };
        let explores = def.explore.unwrap_or(true);
        let (floor, budget) = if explores { (floor, budget) } else { (0.0, 0.0) };
        let prior = def.prior.unwrap_or([1.0, 1.0]);
        let mut policy = Policy { kind, floor, budget, bandit: None, prior, model: None };
        if kind == PolicyKind::Thompson
            && let Some(bandit) = learner(def, bandit, &mut add)
        {
            policy.model = self.model(def, &mut add);
            policy.bandit = Some(bandits.len());
            bandits.push(Bandit { model: policy.model.as_ref().map(|model| model.shape.clone()), ..bandit });
        }
        self.fits(what, &policy, parts, problems);
        policy
    }

    /// Whether a policy can choose in a way that is made so.
    pub(super) fn fits(&self, what: &str, policy: &Policy, parts: &Parts<'_>, problems: &mut Problems) {
        let mut add = |why: &str| problems.add(&self.at, format!("{what}choose: {why}"));
        match policy.kind {
            PolicyKind::Thompson if !parts.ladder.is_empty() => {
                add("thompson scores by what it learned: leave the ladder out, or choose another policy");
            }
            PolicyKind::Thompson if self.def.actions.is_empty() => {
                add("thompson learns about actions, and this placement ranks items: choose another policy");
            }
            PolicyKind::Thompson if self.def.actions.len() > MAX_LEARNED => {
                let found = self.def.actions.len();
                add(&format!("thompson learns about at most {MAX_LEARNED} actions, and these are {found}"));
            }
            PolicyKind::Softmax(_) if parts.ladder.is_empty() && parts.rules.is_empty() => {
                add("softmax needs scores: add a `ladder`, or rules that say `boost`");
            }
            _ => {}
        }
    }

    /// What the placement's own policy learns, before its numbers are known.
    pub(super) fn bandit(&self, key: &str) -> Bandit {
        let shared = self.def.experiment.iter().flat_map(|experiment| {
            let arms = experiment.arms.iter().filter(|arm| arm.choose.is_none());
            arms.map(|arm| (Arc::from(experiment.key.as_str()), Arc::from(arm.name.as_str())))
        });
        let actions: Vec<Arc<str>> = self.def.actions.iter().map(|action| Arc::from(action.id.as_str())).collect();
        // As `settle` has it: who is kept from a place by limits of a kind makes room for others.
        let is_open = !self.def.limits.max_per.is_empty() || !self.def.limits.min_share.is_empty();
        Bandit {
            key: key.to_owned(),
            placement: Arc::from(key),
            arm: None,
            shared_arms: shared.collect(),
            reward: String::new(),
            window_us: 0,
            prior: [1.0, 1.0],
            half_life_us: None,
            model: None,
            contenders: if is_open { actions.len() } else { actions.len().min(self.def.slots as usize) },
            actions,
        }
    }

    /// As [`Compiler::bandit`], for an arm's own policy.
    pub(super) fn arm_bandit(&self, key: &str, experiment: &str, arm: &str) -> Bandit {
        Bandit {
            key: format!("{key}/{experiment}/{arm}"),
            arm: Some((Arc::from(experiment), Arc::from(arm))),
            shared_arms: Vec::new(),
            ..self.bandit(key)
        }
    }
}

/// A bandit with its numbers.
fn learner(def: &Choose, bandit: Bandit, add: &mut impl FnMut(String)) -> Option<Bandit> {
    let Some(reward) = def.reward.clone().filter(|reward| !reward.is_empty()) else {
        add("thompson needs `reward`, the name of an event or the `kind` of a `$reward`".into());
        return None;
    };
    if reward.starts_with('$') {
        add(format!(
            "reward is {reward:?}, but names that begin with $ are the node's own: say the name of an event, such as \
             \"add_to_cart\", or the `kind` of a `$reward`"
        ));
    }
    let window = def.window.unwrap_or_else(|| window_of(&reward));
    if window.us() <= 0 || window > MAX_WINDOW {
        add(format!("window is {window}, expected more than 0 and at most {MAX_WINDOW}"));
    }
    if let Some(prior) = def.prior
        && prior.iter().any(|part| !part.is_finite() || !(1.0..=1e6).contains(part))
    {
        add(format!("prior is {prior:?}, expected rewards and misses from 1 to 1,000,000"));
    }
    if def.half_life.is_some_and(|half_life| half_life < SHORTEST_HALF_LIFE) {
        add(format!("half_life is below {SHORTEST_HALF_LIFE}"));
    }
    if def.model.unwrap_or_default() == ModelName::Beta {
        for (key, is_said) in [("features", !def.features.is_empty()), ("precision", def.precision.is_some())] {
            if is_said {
                add(format!("`{key}` is for a model: add `model = \"logistic\"`, or leave it out"));
            }
        }
    }
    let prior = def.prior.unwrap_or([1.0, 1.0]);
    Some(Bandit { reward, window_us: window.us(), prior, half_life_us: def.half_life.map(Span::us), ..bandit })
}

/// How long a reward counts when nobody says.
fn window_of(reward: &str) -> Span {
    match reward {
        "purchase" => Span::from_us(7 * 86_400_000_000),
        "add_to_cart" | "add_to_wishlist" | "view_cart" | "begin_checkout" => Span::from_us(86_400_000_000),
        _ => Span::from_us(30 * 60_000_000),
    }
}
