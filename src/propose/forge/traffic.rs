//! What is asked of a forge, counted. Ends of exchanges come in, metrics go out; nothing is decided here.

use std::sync::Arc;

use crate::outside::http::{Ear, HttpReply};
use crate::telemetry::names::{ForgeAnswer, ForgeProduct, Metrics};

/// Counts the requests to one forge.
#[derive(Debug)]
pub struct Traffic {
    pub metrics: Arc<Metrics>,
    pub product: ForgeProduct,
}

impl Ear for Traffic {
    fn ended(&self, reply: Option<&HttpReply>) {
        self.metrics.count_forge_request(self.product, ForgeAnswer::of(reply.map(|it| it.status)));
        // As GitHub writes it, and as GitLab does; Gitea has no limit of its own.
        let says = |name| reply.and_then(|it| it.header(name)).and_then(|it| it.trim().parse::<u32>().ok());
        if let Some(remaining) = says("x-ratelimit-remaining").or_else(|| says("ratelimit-remaining")) {
            self.metrics.set_forge_remaining(self.product, remaining);
        }
    }
}
