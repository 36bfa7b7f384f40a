//! Records what a person asked for, beside any number of running replicas: read, check, one push that lands only
//! on what was read. A request comes in, the ledger's commit that holds it goes out. What follows from it is
//! decided and done by whoever reconciles; nothing is proposed, closed or merged here.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::error::TurnError;
use super::memory::{Memory, NextEntry, Recorded};
use super::{RACES_MAX, race_wait};
use crate::ledger;
use crate::model::entry::EntryKind;
use crate::model::history::History;
use crate::model::ids::ObjectId;
use crate::model::request::{CannotAsk, Request, Wish};
use crate::outside::clock::{self, Clock, Stopwatch};
use crate::outside::git::Mirror;
use crate::outside::random;
use crate::propose::Writer;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It stands in the ledger since this commit.
    Recorded(ObjectId),
    /// The ledger says so already; nothing was written.
    Already,
    /// The ledger cannot take it.
    Refused(CannotAsk),
    /// Others wrote first, again and again.
    Busy,
}

/// The ledger of one repository, and the means to extend it.
#[derive(Debug)]
pub struct OpenLedger {
    pub mirror: Mirror,
    pub writer: Writer,
    pub memory: Memory,
    pub clock: Arc<dyn Clock>,
}

impl OpenLedger {
    /// Reads the ledger and the watched branch as they are now; gives the head of the latter.
    ///
    /// # Errors
    /// When the remote cannot be read, or its ledger is not to be trusted.
    pub async fn read(&mut self) -> Result<ObjectId, TurnError> {
        let main = format!("refs/heads/{}", self.writer.main);
        let ledger = format!("refs/heads/{}", self.writer.ledger);
        let refs = self.mirror.fetch(&[&main, &ledger]).await.map_err(TurnError::Fetch)?;
        let head = refs.get(&ledger).map(String::as_str);
        self.memory.refresh(self.mirror.objects(), head, self.clock.now())?;
        let main = refs.get(&main).ok_or_else(|| TurnError::NoMain(self.writer.main.to_string()))?;
        Ok(ObjectId::new(main.as_str())?)
    }

    /// Records `request`, once, however often it is called.
    ///
    /// # Errors
    /// When the remote cannot be read or written, or its ledger is not to be trusted.
    pub fn ask<'a>(&'a mut self, request: &'a Request) -> BoxFuture<'a, Result<Asked, TurnError>> {
        // On the heap: what is held across these waits would fill a thread's stack.
        Box::pin(self.try_until_recorded(request))
    }

    async fn try_until_recorded(&mut self, request: &Request) -> Result<Asked, TurnError> {
        for lost in 0..RACES_MAX {
            let attempt = Stopwatch::start();
            Box::pin(self.read()).await?;
            let history = self.memory.history();
            if stands(history, request, self.clock.now()) {
                return Ok(Asked::Already);
            }
            let next = match (history.seq, request.check(history, self.clock.now())) {
                (None, _) => NextEntry::mark(EntryKind::Genesis),
                (Some(seq), _) if ledger::checkpoint_due(seq.saturating_add(1)) => {
                    NextEntry::mark(EntryKind::Checkpoint)
                }
                (Some(_), Ok(())) => NextEntry::asked(request),
                (Some(_), Err(why)) => return Ok(Asked::Refused(why)),
            };
            let Self { mirror, writer, memory, clock } = self;
            let entries = [next];
            let appended = Box::pin(memory.append(mirror, writer, &entries, &[], clock.now())).await?;
            match (appended.recorded, entries[0].request, memory.history().head_commit.clone()) {
                (Recorded::Landed | Recorded::LandedUnsaid, Some(_), Some(commit)) => {
                    return Ok(Asked::Recorded(commit));
                }
                (Recorded::Landed | Recorded::LandedUnsaid, _, _) => {}
                // Where it stands now is read again before anything is written.
                (Recorded::Lost | Recorded::Unsettled, _, _) => {
                    clock::wait(random::jitter(race_wait(attempt.elapsed(), lost), 1.0)).await;
                }
            }
        }
        Ok(Asked::Busy)
    }
}

/// Is it in force already, whoever asked? An end of quiet is where there is none.
fn stands(history: &History, request: &Request, now: jiff::Timestamp) -> bool {
    match &request.wish {
        Wish::Revert { of } => history.reverts.contains_key(of),
        Wish::Quiet { of, until } => match history.quiet.get(&of.key()) {
            Some(known) => known == request,
            None => *until <= history.ledger_now(now),
        },
    }
}
