//! From a decision and a repository tree to checked edits and to the texts people read. A plan and a tree
//! come in; bytes whose effect is proven, a decision sentence, a commit message and a pull request go out.
//! Nothing is written, signed or sent here, and text templates never make YAML.

mod comment;
mod commit_text;
mod edits;
mod escape;
mod guard;
mod named;
mod onboarding;
mod proof;
mod pull;
pub mod replies;
mod sealed;
mod switch;
mod template_check;
mod text;
mod undo;
mod unrendered;
mod values;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod refusals;

pub use comment::{Comment, comment};
pub use commit_text::commit_message;
pub use edits::{CheckedChanges, RenderRequest, edits};
pub use onboarding::{BRANCH as ONBOARDING_BRANCH, Found, OnboardingPlan, Seen, onboarding};
pub use pull::{Around, PullText, batch, pull_text};
pub use sealed::Fresh;
pub use switch::switch_policy;
pub use template_check::{TemplateError, TemplateProblem, Templates};
pub use text::{correlation, decision_sentence, number, what as headline};
pub use undo::stands;
