//! On which line of a settings file each setting stands. Text comes in, a map from dotted paths goes out;
//! text that is no YAML gives the map of what could be read.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser};

/// Deepest nesting that is looked at; settings need four.
const MAX_DEPTH: usize = 16;

/// One open collection: its path, and the key that waits for its value or the next index.
enum Open {
    Map { path: String, key: Option<String> },
    List { path: String, index: usize },
}

/// 1-based lines by dotted path; list entries are numbers (`signals.0.query`).
pub(super) fn by_path(text: &str) -> BTreeMap<String, u32> {
    let mut lines = BTreeMap::new();
    let mut stack: Vec<Open> = Vec::new();
    let options = granit_parser::options! { emit_comments: false, block_nesting_limit: MAX_DEPTH };
    for next in Parser::new_from_str_with_options(text, options) {
        let Ok((event, span)) = next else { break };
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        match event {
            Event::Scalar(key, ..) if matches!(stack.last(), Some(Open::Map { key: None, .. })) => {
                if let Some(Open::Map { path, key: waiting }) = stack.last_mut() {
                    lines.entry(joined(path, &key)).or_insert(line);
                    *waiting = Some(key.into_owned());
                }
            }
            Event::Scalar(..) | Event::Alias(_) => {
                take_slot(&mut stack, line, &mut lines);
            }
            Event::MappingStart(..) => {
                let path = take_slot(&mut stack, line, &mut lines);
                stack.push(Open::Map { path, key: None });
            }
            Event::SequenceStart(..) => {
                let path = take_slot(&mut stack, line, &mut lines);
                stack.push(Open::List { path, index: 0 });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                stack.pop();
            }
            _ => {}
        }
    }
    lines
}

/// The path of the value that starts now.
fn take_slot(stack: &mut [Open], line: u32, lines: &mut BTreeMap<String, u32>) -> String {
    match stack.last_mut() {
        None => String::new(),
        Some(Open::Map { path, key }) => joined(path, &key.take().unwrap_or_default()),
        Some(Open::List { path, index }) => {
            let slot = joined(path, &index.to_string());
            *index += 1;
            lines.entry(slot.clone()).or_insert(line);
            slot
        }
    }
}

fn joined(path: &str, segment: &str) -> String {
    if path.is_empty() { segment.to_owned() } else { format!("{path}.{segment}") }
}
