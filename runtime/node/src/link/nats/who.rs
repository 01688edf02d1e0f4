//! Who runs under a node's name, over NATS: one subject a name, on which every run of it answers. What an answer says is
//! asked and read by the twin flow.

use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;
use selvedge_decision::NodeId;

use super::NatsLink;
use super::releases::{CoreError, failed};

/// Questions as they come.
pub(crate) struct Questions {
    messages: Subscriber,
    client: async_nats::Client,
}

// === impl NatsLink ===

impl NatsLink {
    /// Hears who asks for `node`, also after the connection broke and came back.
    pub(crate) async fn hear_who(&self, node: &NodeId) -> Result<Questions, CoreError> {
        let subscribed = self.client().subscribe(self.config().who_subject(node)).await;
        let messages = subscribed.map_err(|error| failed(format!("listen for who is {node}"), &error))?;
        Ok(Questions { messages, client: self.client().clone() })
    }

    /// Asks who runs as `node`: the answers that come within `wait`, one's own among them.
    pub(crate) async fn ask_who(&self, node: &NodeId, wait: Duration) -> Result<Vec<Bytes>, CoreError> {
        let what = || format!("ask who is {node}");
        let inbox = self.client().new_inbox();
        let subscribed = self.client().subscribe(inbox.clone()).await;
        let answers = subscribed.map_err(|error| failed(what(), &error))?;
        let asked = self.client().publish_with_reply(self.config().who_subject(node), inbox, Bytes::new()).await;
        asked.map_err(|error| failed(what(), &error))?;
        let answers = answers.take_until(tokio::time::sleep(wait));
        Ok(answers.map(|message| message.payload).collect().await)
    }
}

// === impl Questions ===

impl Questions {
    /// Answers the next question with `answer`; `false` when none will come any more.
    pub(crate) async fn answer(&mut self, answer: &Bytes) -> bool {
        let Some(question) = self.messages.next().await else { return false };
        if let Some(reply) = question.reply
            && let Err(error) = self.client.publish(reply, answer.clone()).await
        {
            tracing::debug!(%error, "who this is could not be answered");
        }
        true
    }
}
