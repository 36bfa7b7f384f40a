//! Fills in a template. Values come in and text goes out; every visit of a value and every byte is counted.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Filter, Operand, Operator, Part, Path, Place, Step};
use crate::cli::output::expression::RESULT_BYTES_MAX;
use crate::cli::output::json_escaped;

/// Most values that one template may visit: ranges nest, and `..` visits everything.
const VISITS_MAX: usize = 5_000_000;

type Evaluated<T> = Result<T, String>;

struct Run<'a> {
    root: &'a Value,
    raw: &'a dyn Fn(&str) -> String,
    visits: usize,
    text: String,
}

pub(super) fn run(parts: &[Part], answer: &Value, raw: &dyn Fn(&str) -> String) -> Evaluated<String> {
    let mut run = Run { root: answer, raw, visits: 0, text: String::new() };
    run.parts(parts, answer)?;
    Ok(run.text)
}

impl<'a> Run<'a> {
    fn visit(&mut self, count: usize) -> Evaluated<()> {
        self.visits += count;
        if self.visits > VISITS_MAX {
            return Err(format!("it looks at more than {VISITS_MAX} values"));
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Evaluated<()> {
        self.text.push_str(text);
        if self.text.len() > RESULT_BYTES_MAX {
            return Err(format!("it makes more than {RESULT_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn parts(&mut self, parts: &[Part], current: &'a Value) -> Evaluated<()> {
        for part in parts {
            match part {
                Part::Text(text) => self.write(text)?,
                Part::Path(path) => {
                    let found = self.path(path, current)?;
                    for (index, value) in found.into_iter().enumerate() {
                        if index > 0 {
                            self.write(" ")?;
                        }
                        let shown = self.shown(value);
                        self.write(&shown)?;
                    }
                }
                Part::Range { over, body } => {
                    for value in self.path(over, current)? {
                        self.visit(1)?;
                        self.parts(body, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn shown(&self, value: &Value) -> String {
        match value {
            Value::String(text) => (self.raw)(text),
            value => json_escaped(&value.to_string()),
        }
    }

    fn path(&mut self, path: &Path, current: &'a Value) -> Evaluated<Vec<&'a Value>> {
        self.steps(&path.steps, vec![if path.from_root { self.root } else { current }])
    }

    fn steps(&mut self, steps: &[Step], mut found: Vec<&'a Value>) -> Evaluated<Vec<&'a Value>> {
        for step in steps {
            let mut next = Vec::new();
            if let Step::Union(branches) = step {
                for branch in branches {
                    next.extend(self.steps(branch, found.clone())?);
                }
            } else {
                for value in found {
                    self.step(step, value, &mut next)?;
                }
            }
            self.visit(next.len() + 1)?;
            found = next;
        }
        Ok(found)
    }

    fn step(&mut self, step: &Step, value: &'a Value, into: &mut Vec<&'a Value>) -> Evaluated<()> {
        match (step, value) {
            (Step::Member(name), Value::Object(members)) => into.extend(members.get(name)),
            (Step::Element(place), Value::Array(items)) => into.extend(elements(*place, items)?),
            (Step::All, Value::Array(items)) => into.extend(items),
            (Step::All, Value::Object(members)) => into.extend(members.values()),
            (Step::Descend, value) => self.descend(value, into)?,
            (Step::Where(filter), Value::Array(items)) => {
                for item in items {
                    self.visit(1)?;
                    if self.holds(filter, item)? {
                        into.push(item);
                    }
                }
            }
            (Step::Where(_), Value::Object(_)) => return Err("only a list can be filtered".to_owned()),
            (Step::Member(_) | Step::Element(_) | Step::Union(_) | Step::All | Step::Where(_), _) => {}
        }
        Ok(())
    }

    /// The value, then what is in it, depth first. An answer is a few levels deep: it was made here.
    fn descend(&mut self, value: &'a Value, into: &mut Vec<&'a Value>) -> Evaluated<()> {
        self.visit(1)?;
        into.push(value);
        match value {
            Value::Array(items) => items.iter().try_for_each(|it| self.descend(it, into)),
            Value::Object(members) => members.values().try_for_each(|it| self.descend(it, into)),
            _ => Ok(()),
        }
    }

    fn holds(&mut self, filter: &Filter, item: &'a Value) -> Evaluated<bool> {
        match filter {
            Filter::Exists(path) => Ok(!self.path(path, item)?.is_empty()),
            Filter::Compare { left, operator, right } => {
                let (left, right) = (self.operand(left, item)?, self.operand(right, item)?);
                Ok(match (left, right) {
                    (Some(left), Some(right)) => compare(&left, *operator, &right),
                    _ => false,
                })
            }
        }
    }

    /// The one value of an operand; none, or several, compare with nothing.
    fn operand(&mut self, operand: &Operand, item: &'a Value) -> Evaluated<Option<Value>> {
        Ok(match operand {
            Operand::Literal(value) => Some(value.clone()),
            Operand::Path(path) => match self.path(path, item)?.as_slice() {
                [one] => Some((*one).clone()),
                _ => None,
            },
        })
    }
}

/// # Errors
/// As kubectl: an element that is not there is an error, an empty slice is not.
fn elements(place: Place, items: &[Value]) -> Evaluated<Vec<&Value>> {
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_start = |at: i64| if at < 0 { at.saturating_add(count) } else { at };
    match place {
        Place::At(at) => usize::try_from(from_start(at))
            .ok()
            .and_then(|index| items.get(index))
            .map(|item| vec![item])
            .ok_or_else(|| format!("there is no element [{at}] in a list of {count}")),
        Place::Slice(first, end, step) => {
            let within = |at: i64| usize::try_from(from_start(at).clamp(0, count)).unwrap_or(0);
            let (first, end) = (first.map_or(0, within), end.map_or(items.len(), within));
            Ok(items.get(first..end).unwrap_or(&[]).iter().step_by(step).collect())
        }
    }
}

fn compare(left: &Value, operator: Operator, right: &Value) -> bool {
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
        }
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (left, right) => (left == right).then_some(Ordering::Equal),
    };
    match operator {
        Operator::Equal => order == Some(Ordering::Equal),
        Operator::NotEqual => order != Some(Ordering::Equal),
        Operator::Less => order == Some(Ordering::Less),
        Operator::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Operator::Greater => order == Some(Ordering::Greater),
        Operator::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}
