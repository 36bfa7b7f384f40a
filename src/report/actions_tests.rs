//! The pure part of the projection; the real API server is in `tests/suite`.

use super::*;

#[test]
fn a_correction_sets_back_and_takes_out_and_says_nothing_when_nothing_is_wrong() {
    let wanted = json!({"a": 1, "b": {"c": [1, 2]}, "e": "x"});
    assert_eq!(correction(&wanted, &wanted), json!({}));
    let actual = json!({"a": 2, "b": {"c": [2], "d": true}, "f": {}});
    let expected = json!({"a": 1, "b": {"c": [1, 2], "d": null}, "e": "x", "f": null});
    assert_eq!(correction(&actual, &wanted), expected);
}
