//! `tars tree`: how an object reaches a cluster, and where each field that a playbook may change is written.

use serde::Serialize;

use super::args::Tree;
use super::charts::settled;
use super::failure::{Failure, Kind};
use super::history;
use super::output::{Console, Page, Piece, Style};
use crate::layout::{Address, Field, Index, Link, Place};
use crate::model::ids::WorkloadRef;
use crate::model::reason::Reason;
use crate::model::workload::{ReplicaOwner, Workload};

/// Characters of `written in` and its like, with room.
const LABEL_WIDTH: usize = 12;

/// Where a field stands, or why it cannot be written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldRow {
    field: String,
    object: String,
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_in: Option<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    file: String,
    document: usize,
    line: usize,
    path: String,
    why: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Station {
    file: String,
    document: usize,
    line: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    at: String,
    does: Vec<String>,
}

/// Prints the chain of one object.
///
/// # Errors
/// Exit code 2 when the name is none, 1 when nothing, or more than one thing, has it.
pub fn run(args: &Tree, console: &Console) -> Result<(), Failure> {
    let target = target(&args.target)?;
    let objects = history::open_clone(&args.look.repository)?;
    let commit = history::watched_branch(&objects, &args.look.branch)?;
    let mut repository = super::get::repository_beside(&args.beside)?;
    let charts = repository.charts();
    let snapshot = settled(&charts, || repository.snapshot(&objects, &commit))?
        .map_err(|error| Failure::new(Kind::No, "could not read the watched branch").because(error))?;
    let chain = snapshot.index.chain(&target).map_err(|reason| refused(&reason))?;
    let fields = settled(&charts, || fields(&snapshot.index, &target))?;
    let stations: Vec<Station> = chain.iter().map(station).collect();
    let record = serde_json::json!({
        "apiVersion": "cli.tars/v1", "kind": "Tree", "target": target, "commit": commit,
        "chain": stations, "fields": fields,
    });
    console.answer(&[target.to_string()], &record, || drawn(&target, &chain, &fields))?;
    if console.is_for_people() {
        let notes = snapshot.index.delivery_notes();
        let of_chain = |note: &&String| chain.iter().any(|link| note.contains(link.file.as_str()));
        notes.iter().filter(of_chain).for_each(|note| console.talk(note));
    }
    Ok(())
}

/// `namespace/Kind/name`.
///
/// # Errors
/// Exit code 2.
pub fn target(text: &str) -> Result<WorkloadRef, Failure> {
    WorkloadRef::parse(text).map_err(|error| {
        Failure::usage(format!("{text} is not a target"))
            .because(error)
            .hint("write namespace/Kind/name, for example production/Deployment/backend")
    })
}

/// A reason as the answer "no".
pub fn refused(reason: &Reason) -> Failure {
    Failure::new(Kind::No, reason.text.clone()).hint(format!("tars explain {}", reason.code.as_str()))
}

fn station(link: &Link) -> Station {
    Station {
        file: link.file.to_string(),
        document: link.document,
        line: link.line,
        at: link.at.clone(),
        does: link.does.clone(),
    }
}

fn fields(index: &Index, target: &WorkloadRef) -> Vec<FieldRow> {
    let workload = match index.workload(target) {
        Ok(workload) => workload,
        Err(reason) => return vec![row("*", target, None, Err(reason), index)],
    };
    let mut rows = vec![replicas(index, &workload)];
    for container in &workload.containers {
        let place = index.place(target, &Field::Image(container.name.clone())).map_err(Reason::from);
        let field = format!("image of {}", container.name);
        rows.push(row(&field, target, Some(container.image.clone()), place, index));
    }
    if index.pod_template(target).is_ok() {
        let place = index.place(target, &Field::RestartedAt).map_err(Reason::from);
        rows.push(row("restartedAt", target, workload.restarted_at.clone(), place, index));
    }
    rows
}

fn replicas(index: &Index, workload: &Workload) -> FieldRow {
    let target = &workload.target;
    match &workload.owner {
        ReplicaOwner::Workload => {
            let place = index.place(target, &Field::Replicas).map_err(Reason::from);
            row("replicas", target, workload.replicas.map(|it| it.to_string()), place, index)
        }
        ReplicaOwner::Autoscaler { target: owner, min, .. } => {
            let place = index.place(owner, &Field::AutoscalerMin).map_err(Reason::from);
            row("minReplicas", owner, Some(min.to_string()), place, index)
        }
        ReplicaOwner::Other(owner) => {
            let code = crate::model::reason::ReasonCode::FieldOwnedElsewhere;
            let reason = Reason::new(code, format!("the replica count is owned by {owner}"));
            row("replicas", target, workload.replicas.map(|it| it.to_string()), Err(reason), index)
        }
    }
}

fn row(
    field: &str,
    object: &WorkloadRef,
    value: Option<String>,
    place: Result<Place, Reason>,
    index: &Index,
) -> FieldRow {
    let written = |place: &Place| Written {
        file: place.file.to_string(),
        document: place.document,
        line: index.line_of(
            &place.file,
            place.document,
            &Address::parse(&place.field()).map(|at| at.text.unwrap_or(at.path)).unwrap_or_default(),
        ),
        path: place.field(),
        why: index.why_there(object, place),
    };
    FieldRow {
        field: field.to_owned(),
        object: object.to_string(),
        value,
        written_in: place.as_ref().ok().map(written),
        refused: place.err().map(|reason| reason.to_string()),
    }
}

/// The outermost station first, as Argo CD and Flux see it; the declaration last.
fn drawn(target: &WorkloadRef, chain: &[Link], fields: &[FieldRow]) -> Page {
    let mut page = Page::new();
    page.put(Piece::from(target.to_string()).styled(Style::Strong)).line();
    for (depth, link) in chain.iter().rev().enumerate() {
        let at = if link.at.is_empty() { String::new() } else { format!(" {}", link.at) };
        let does = if link.does.is_empty() { "includes it".to_owned() } else { link.does.join(", ") };
        page.put(format!("{}└─ {}:{}{at}   {does}", "   ".repeat(depth), link.file, link.line)).line();
    }
    for row in fields {
        let value = row.value.as_deref().unwrap_or("(absent)");
        let of = if row.object == target.to_string() { String::new() } else { format!(" of {}", row.object) };
        page.line().put(Piece::from(format!("{}{of}", row.field)).styled(Style::Strong));
        page.put(format!("   {value}")).line();
        let mut say = |word: &str, text: String, style: Style| {
            page.put("  ")
                .padded(word, LABEL_WIDTH, Style::Dim)
                .put(" ")
                .put(Piece::from(text).styled(style))
                .line();
        };
        match (&row.written_in, &row.refused) {
            (Some(it), _) => {
                say("written in", format!("{}:{}, {}", it.file, it.line, it.path), Style::Plain);
                say("because", it.why.to_owned(), Style::Plain);
            }
            (None, refused) => say("refused", refused.clone().unwrap_or_default(), Style::Warn),
        }
    }
    page
}
