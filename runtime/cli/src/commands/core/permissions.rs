//! `selvedge core permissions`: a user of the NATS server that is one node, or a service that counts or learns, and can be no other. Owns
//! which subjects each of them uses.

use std::path::PathBuf;

use selvedge_decision::NodeId;
use selvedge_node::link::NatsConfig;
use serde_json::json;

use super::{counted, features_of};
use crate::core::CoreArgs;
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints a `user` of a nats-server configuration. A node reads channels, releases, rows and what events come to, \
    and writes its own events, its report and its slots of sessions. `core features` reads channels, releases and events, and \
    writes what they come to; `core bandits` does so with what policies learned. None makes anything: run `selvedge core init` first. Add a password, an nkey, or leave the \
    permissions to a JWT."
)]
pub(crate) struct Args {
    #[command(flatten)]
    core: CoreArgs,
    /// The node's name, as in node.name.
    #[arg(required_unless_present_any = ["features", "bandits"])]
    node: Option<NodeId>,
    /// Not a node, but `selvedge core features` for the views of this release folder.
    #[arg(long, value_name = "DIR", conflicts_with = "node")]
    features: Option<PathBuf>,
    /// Not a node, but `selvedge core bandits`.
    #[arg(long, conflicts_with_all = ["node", "features"])]
    bandits: bool,
}

/// What the user of `core features` is called.
pub(super) const COUNTS: &str = "core-features";
/// What the user of `core bandits` is called.
pub(super) const LEARNS: &str = "core-bandits";

/// A user, and the subjects it may and may not publish to.
struct User {
    name: String,
    publish: Vec<String>,
    deny: Vec<String>,
    /// The subject on which it answers, to nobody but who asks.
    answers: Option<String>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let names = self.core.config();
        let user = match (&self.node, &self.features) {
            (Some(node), _) => User::node(node, &names),
            (None, None) if self.bandits => User::learns(&names),
            (None, Some(release)) => User::counts(&counted(&features_of(release)?), &names),
            (None, None) => anyhow::bail!("name a node, or a release folder with --features, or say --bandits"),
        };
        user.print(output)?;
        Ok(Outcome::Ok)
    }
}

// === impl User ===

impl User {
    fn node(node: &NodeId, names: &NatsConfig) -> Self {
        let (events, stream) = (names.events_subjects(), names.events_stream());
        let who = names.who_subject(node);
        let node = node.as_str();
        let writes = [
            format!("{}{node}.>", events.trim_end_matches('>')),
            format!("$KV.{}.{node}", names.nodes_bucket()),
            format!("$KV.{}.*.{node}.>", names.sessions_bucket()),
            // Who else runs under its name; it may answer those who ask it.
            who.clone(),
        ];
        // Others' events are not its to read.
        let deny = [
            format!("$JS.API.STREAM.MSG.GET.{stream}"),
            format!("$JS.API.DIRECT.GET.{stream}"),
            format!("$JS.API.DIRECT.GET.{stream}.>"),
            format!("$JS.API.CONSUMER.CREATE.{stream}"),
            format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.>"),
            format!("$JS.API.CONSUMER.INFO.{stream}.>"),
            format!("$JS.API.CONSUMER.DELETE.{stream}.>"),
        ];
        let publish = writes.into_iter().chain(reads()).map(|subject| of_domain(names, subject)).collect();
        let deny = deny.into_iter().map(|subject| of_domain(names, subject)).collect();
        Self { name: node.to_owned(), publish, deny, answers: Some(who) }
    }

    fn counts(views: &[String], names: &NatsConfig) -> Self {
        let writes = views.iter().map(|view| format!("$KV.{}.>", names.aggregates_bucket(view)));
        let publish = writes.chain(reads()).map(|subject| of_domain(names, subject)).collect();
        Self { name: COUNTS.to_owned(), publish, deny: Vec::new(), answers: None }
    }

    fn learns(names: &NatsConfig) -> Self {
        let writes = std::iter::once(format!("$KV.{}.>", names.bandits_bucket()));
        let publish = writes.chain(reads()).map(|subject| of_domain(names, subject)).collect();
        Self { name: LEARNS.to_owned(), publish, deny: Vec::new(), answers: None }
    }

    fn print(&self, output: &Output) -> anyhow::Result<()> {
        let Self { name, publish, deny, answers } = self;
        // Answers to itself, and not those to others.
        let subscribe: Vec<String> = std::iter::once(format!("_INBOX.{name}.>")).chain(answers.clone()).collect();
        if output.is_json() {
            return output.json_line(&json!({ "user": name, "permissions": {
                "publish": { "allow": publish, "deny": deny }, "subscribe": { "allow": subscribe },
                "allow_responses": answers.is_some() } }));
        }
        let list = |word: &str, subjects: &[String]| -> String {
            if subjects.is_empty() {
                return String::new();
            }
            let lines: String = subjects.iter().map(|subject| format!("\n        {subject:?}")).collect();
            format!("\n      {word}: [{lines}\n      ]")
        };
        output.text_line(format_args!(
            "{{\n  user: {name:?}\n  permissions: {{\n    publish: {{{}{}\n    }}\n    subscribe: {{ allow: {subscribe:?} }}\n    \
             allow_responses: {}\n  }}\n}}",
            list("allow", publish),
            list("deny", deny),
            answers.is_some(),
        ))
    }
}

/// JetStream's own subjects as they are from a leaf node of the core.
fn of_domain(names: &NatsConfig, subject: String) -> String {
    let is_jetstream = subject.starts_with("$JS.API.") || subject.starts_with("$KV.");
    if is_jetstream { names.of_domain(&subject) } else { subject }
}

/// What a reader asks for: the state of streams, their messages one by one or as they come.
fn reads() -> impl Iterator<Item = String> {
    [
        "$JS.API.INFO",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.MSG.GET.*",
        "$JS.API.DIRECT.GET.>",
        "$JS.API.CONSUMER.CREATE.>",
        "$JS.API.CONSUMER.INFO.>",
        "$JS.API.CONSUMER.MSG.NEXT.>",
        "$JS.API.CONSUMER.DELETE.>",
        "$JS.FC.>",
    ]
    .map(str::to_owned)
    .into_iter()
}
