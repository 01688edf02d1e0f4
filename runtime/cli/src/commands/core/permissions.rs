//! `selvedge core permissions`: a user of the NATS server that is one node, and can be no other. Owns which subjects a node uses.

use selvedge_decision::NodeId;
use serde_json::json;

use crate::core::CoreArgs;
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints a `user` of a nats-server configuration. A node reads channels, releases and rows, and writes its own \
    events, its report and its slots of sessions; it makes nothing: run `selvedge core init` first. Add a password, an nkey, or \
    leave the permissions to a JWT."
)]
pub(crate) struct Args {
    #[command(flatten)]
    core: CoreArgs,
    /// The node's name, as in node.name.
    node: NodeId,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let names = self.core.config();
        let node = self.node.as_str();
        let (events, stream) = (names.events_subjects(), names.events_stream());
        let own = format!("{}{node}.>", events.trim_end_matches('>'));
        let publish = [
            // What it writes.
            own,
            format!("$KV.{}.{node}", names.nodes_bucket()),
            format!("$KV.{}.*.{node}.>", names.sessions_bucket()),
            // Who else runs under its name; it may answer those who ask it.
            names.who_subject(&self.node),
            // What it reads: the state of streams, their messages one by one or as they come.
            "$JS.API.INFO".to_owned(),
            "$JS.API.STREAM.INFO.*".to_owned(),
            "$JS.API.STREAM.MSG.GET.*".to_owned(),
            "$JS.API.DIRECT.GET.>".to_owned(),
            "$JS.API.CONSUMER.CREATE.>".to_owned(),
            "$JS.API.CONSUMER.INFO.>".to_owned(),
            "$JS.API.CONSUMER.MSG.NEXT.>".to_owned(),
            "$JS.API.CONSUMER.DELETE.>".to_owned(),
            "$JS.FC.>".to_owned(),
        ];
        // Others' events are not its to read.
        let deny = [
            format!("$JS.API.STREAM.MSG.GET.{stream}"),
            format!("$JS.API.DIRECT.GET.{stream}"),
            format!("$JS.API.DIRECT.GET.{stream}.>"),
            format!("$JS.API.CONSUMER.CREATE.{stream}"),
            format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.>"),
        ];
        let subscribe = ["_INBOX.>".to_owned(), names.who_subject(&self.node)];
        if output.is_json() {
            let value = json!({ "user": node, "permissions": {
                "publish": { "allow": publish, "deny": deny }, "subscribe": { "allow": subscribe },
                "allow_responses": true } });
            output.json_line(&value)?;
            return Ok(Outcome::Ok);
        }
        let list = |subjects: &[String]| -> String {
            subjects.iter().map(|subject| format!("\n        {subject:?}")).collect::<String>()
        };
        output.text_line(format_args!(
            "{{\n  user: {node:?}\n  permissions: {{\n    publish: {{\n      allow: [{}\n      ]\n      deny: [{}\n      ]\n    }}\n    \
             subscribe: {{ allow: [{:?}, {:?}] }}\n    allow_responses: true\n  }}\n}}",
            list(&publish),
            list(&deny),
            subscribe[0],
            subscribe[1],
        ))?;
        Ok(Outcome::Ok)
    }
}
