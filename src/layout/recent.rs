//! A cache of bounded weight. Values come in with their weight and come out again until others needed the
//! room: what was not asked for longest goes first. Nothing here computes a value.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use serde_json::Value as Json;

/// See the module.
#[derive(Debug)]
pub struct Recent<K, V> {
    held: HashMap<K, Held<V>>,
    /// Keys by the time they were last asked for.
    order: BTreeMap<u64, K>,
    time: u64,
    weight: usize,
    weight_max: usize,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    #[must_use]
    pub fn new(weight_max: usize) -> Self {
        Self { held: HashMap::new(), order: BTreeMap::new(), time: 0, weight: 0, weight_max }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        let held = self.held.get_mut(key)?;
        self.time += 1;
        self.order.remove(&held.used);
        held.used = self.time;
        self.order.insert(self.time, key.clone());
        Some(held.value.clone())
    }

    /// Keeps `value`, unless it is heavier than everything together may be.
    pub fn put(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.weight_max {
            return;
        }
        self.time += 1;
        self.weight += weight;
        self.order.insert(self.time, key.clone());
        self.held.insert(key, Held { value, weight, used: self.time });
        while self.weight > self.weight_max {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            if let Some(gone) = self.held.remove(&oldest) {
                self.weight -= gone.weight;
            }
        }
    }

    pub fn remove(&mut self, key: &K) {
        if self.held.is_empty() {
            return;
        }
        if let Some(gone) = self.held.remove(key) {
            self.weight -= gone.weight;
            self.order.remove(&gone.used);
        }
    }
}

/// About how many bytes a value takes in memory.
pub fn weight_of(value: &Json) -> usize {
    const NODE: usize = 48;
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => NODE,
        Json::String(text) => NODE + text.len(),
        Json::Array(items) => NODE + items.iter().map(weight_of).sum::<usize>(),
        Json::Object(entries) => {
            NODE + entries.iter().map(|(key, value)| NODE + key.len() + weight_of(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_longest_makes_room() {
        let mut recent = Recent::new(10);
        for (key, weight) in [("a", 4), ("b", 4)] {
            recent.put(key, key, weight);
        }
        assert_eq!(recent.get(&"a"), Some("a"));
        recent.put("c", "c", 4);
        assert_eq!((recent.get(&"a"), recent.get(&"b"), recent.get(&"c")), (Some("a"), None, Some("c")));
        assert_eq!(recent.weight, 8);
    }

    #[test]
    fn what_is_too_heavy_is_not_kept_and_a_key_counts_once() {
        let mut recent = Recent::new(10);
        recent.put("a", 1, 6);
        recent.put("a", 2, 6);
        recent.put("b", 3, 11);
        assert_eq!((recent.get(&"a"), recent.get(&"b"), recent.weight), (Some(2), None, 6));
        recent.remove(&"a");
        assert_eq!((recent.weight, recent.order.len()), (0, 0));
    }
}
