//! The one request that changes the watched branch through a forge: merge exactly this head. A permit comes in, made
//! after everything was read again; what the forge answered goes out. A lost answer is neither yes nor no.

use jiff::{SignedDuration, Timestamp};

use super::{Desk, Refusals};
use crate::decide::MergePermit;
use crate::model::ids::ActionId;
use crate::propose::forge::{ForgeError, Merging, Outlook, Trouble};

/// So often a refusal may be the forge still looking at the branches; more often it is a rule.
const REFUSALS_MAX: u32 = 3;
/// A refused merge is tried again after this long, and not before.
const REFUSED_FOR: SignedDuration = SignedDuration::from_mins(10);

impl Desk {
    /// Has the forge merge the permitted head of `action`, whose commit says `words` (title, rest of the message).
    ///
    /// # Errors
    /// The forge's. After a lost answer the action counts as unsettled until git shows what happened.
    pub async fn merge(
        &mut self,
        action: &ActionId,
        permit: &MergePermit,
        words: (&str, &str),
        now: Timestamp,
    ) -> Result<(), ForgeError> {
        const WHAT: &str = "merge the pull request";
        let here = |why| ForgeError::refused_here(WHAT, Trouble::NotReady, why);
        let number = self.number(permit.branch()).ok_or_else(|| here("its number is not known"))?;
        let method = self.ground.as_ref().and_then(|(_, ground)| ground.method());
        let method = method.ok_or_else(|| here("the repository allows no way to merge"))?;
        self.unsettled.insert(action.clone());
        let merging = Merging { permit, method, title: words.0, message: words.1 };
        match self.forge.merge(number, merging).await {
            Ok(_) => {
                self.merged.insert(action.clone());
                Ok(())
            }
            Err(error) => {
                self.heed(&error);
                if error.outlook() == Outlook::Permanent {
                    // A clear no: nothing is on its way.
                    self.unsettled.remove(action);
                    let count = self.refusals.get(action).map_or(0, |it| it.count);
                    let count = if error.trouble == Trouble::NotReady { count + 1 } else { REFUSALS_MAX };
                    let refusals = Refusals { count, said: error.to_string(), newest: now };
                    self.refusals.insert(action.clone(), refusals);
                }
                Err(error)
            }
        }
    }

    /// What the forge said when it refused to merge `action`, while that counts.
    pub(super) fn refusal(&self, action: &ActionId, now: Timestamp) -> Option<&str> {
        let refusals = self.refusals.get(action)?;
        let counts = refusals.count >= REFUSALS_MAX && now.duration_since(refusals.newest) <= REFUSED_FOR;
        counts.then_some(refusals.said.as_str())
    }
}
