//! `tars forge webhook-test`: a signed ping to the route of a running tars, as a forge would send it, and in words what
//! came back. It uses the secret of the settings, so what it proves is that both ends have the same.

use std::time::Duration;

use serde_json::json;

use crate::cli::args::ForgeWebhookTest;
use crate::cli::checklist::{self, Line, fail, pass};
use crate::cli::failure::{Failure, Kind};
use crate::cli::output::Console;
use crate::cli::settings;
use crate::config::{Overrides, Settings};
use crate::model::delivery::Heard;
use crate::outside::http::{HttpError, HttpReply, HttpRequest, Method};
use crate::outside::random;

/// For the answer to one delivery.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends a ping and tells what came back.
///
/// # Errors
/// Exit code 1 when it was not heard, 2 when there is no secret, 3 when nobody answers, 4 when the secret is another,
/// 7 when the time is over.
pub fn run(args: &ForgeWebhookTest, console: &Console) -> Result<(), Failure> {
    let settings = settings::load(&args.settings.config, &Overrides::default())?;
    let at = super::place(&settings)?;
    let Some(file) = &at.webhook_secret_file else {
        return Err(Failure::usage("there is no webhook to test: forge.webhook_secret_file is not set")
            .hint("openssl rand -hex 32 makes a secret; the forge's webhook gets the same one"));
    };
    let secret = settings::hook_secret(file)?;
    let url = args.to.clone().unwrap_or_else(|| own_route(&settings));
    let nonce = random::hex(16)
        .map_err(|error| Failure::new(Kind::No, "could not make an identifier").because(error))?;
    let name = format!("{}/{}", at.owner, at.name);
    let body = json!({ "hook_id": nonce, "repository": { "full_name": name } }).to_string();
    let code: String = secret.code(&[body.as_bytes()]).iter().map(|it| format!("{it:02x}")).collect();
    // Behind an ingress of the same house, tars has a certificate of the same authority as the forge.
    let http = settings::forge_http(at, TIMEOUT)?;
    let headers = [
        ("x-gitea-event", "ping"),
        ("x-gitea-delivery", nonce.as_str()),
        ("x-gitea-signature", code.as_str()),
    ];
    let exchange = async {
        let body = Some(("application/json", body.as_bytes()));
        let request =
            HttpRequest { method: Method::Post, query: &[], headers: &headers, body, credential: None };
        http.send(&url, request).await.map_err(unreachable)
    };
    let reply = checklist::run(args.patience.timeout, "the delivery", exchange)?;
    if reply.status == 401 {
        return Err(Failure::new(Kind::Denied, format!("the tars behind {url} has another secret"))
            .hint(format!("give it the secret of {}, and restart it", file.display())));
    }
    checklist::conclude(&[told(&reply, &url, &name)], None, Ok(()), console)
}

/// Where a tars with these settings listens.
fn own_route(settings: &Settings) -> String {
    let mut listen = settings.watching.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(if listen.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{listen}/webhook/forge")
}

fn unreachable(error: HttpError) -> Failure {
    let kind = match error {
        HttpError::Request(_) => Kind::Usage,
        _ => Kind::Unreachable,
    };
    Failure::new(kind, "the delivery got no answer").because(error).hint(
        "is tars running, and is this its address? --to URL tests another one, for example behind an ingress",
    )
}

fn told(reply: &HttpReply, url: &str, name: &str) -> Line {
    let said = serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap_or_default();
    let is_tars = reply.content_type.starts_with("application/problem+json");
    match said["heard"].as_str() {
        Some(word) if word == Heard::Ping.as_str() => pass(
            "webhook",
            format!("tars heard the ping at {url}: the secret is right, the repository is {name}"),
        ),
        Some(word) if word == Heard::OtherRepository.as_str() => fail(
            "webhook",
            format!("the tars behind {url} is set up for another repository than {name}"),
            "use the settings it was started with",
        ),
        Some(_) => fail(
            "webhook",
            format!("the tars behind {url} took it for something else"),
            "is it as new as this one?",
        ),
        None if reply.status == 404 && is_tars => fail(
            "webhook",
            format!("the tars behind {url} takes no webhooks of a forge"),
            "set forge.webhook_secret_file where it runs, and restart it",
        ),
        None => fail(
            "webhook",
            format!("what answers at {url} is not tars (HTTP {})", reply.status),
            "--to URL names the route: https://HOST/webhook/forge",
        ),
    }
}
