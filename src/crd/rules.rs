//! The rules of `check`, said again in the two languages an API server has for them: patterns, and CEL between fields.
//! Each has the code of the rule it repeats. A test against a real API server holds the two forms equal over every
//! document of the tests of this room.

/// A rule in the Common Expression Language, at the path of the object it is about.
pub(super) struct Rule {
    /// As in `spec.triggers[]`: fields by name, `[]` for each entry.
    path: &'static str,
    pub code: &'static str,
    pub cel: &'static str,
    pub message: &'static str,
}

/// What a text at a path may be.
pub(super) struct Shape {
    paths: &'static [&'static str],
    pub pattern: &'static str,
    pub chars_max: u32,
}

const fn rule(path: &'static str, code: &'static str, cel: &'static str, message: &'static str) -> Rule {
    Rule { path, code, cel, message }
}

pub(super) fn at(path: &str) -> Vec<&'static Rule> {
    RULES.iter().filter(|it| it.path == path).collect()
}

/// How many rules there are.
#[cfg(test)]
pub(super) fn count() -> usize {
    RULES.len()
}

pub(super) fn shape(path: &str) -> Option<&'static Shape> {
    SHAPES.iter().find(|it| it.paths.contains(&path))
}

/// A part of a path, which is neither `.` nor `..`: the expressions of an API server cannot look ahead.
macro_rules! part_pattern {
    () => {
        "([A-Za-z0-9_+@=-]|[.][A-Za-z0-9_+@=-]|[.][.][A-Za-z0-9._+@=-])[A-Za-z0-9._+@=-]*"
    };
}
macro_rules! path_pattern {
    () => {
        concat!(part_pattern!(), "(/", part_pattern!(), ")*")
    };
}

/// Names as `model::ids` has them, and durations as `model::duration` has them.
const SHAPES: &[Shape] = &[
    Shape {
        paths: &[
            "spec.triggers[].signal",
            "spec.triggers[].service",
            "spec.actions[].queue.signal",
            "spec.actions[].queue.service",
            "spec.actions[].scaleOut.queue.signal",
            "spec.actions[].scaleOut.queue.service",
            "spec.verify.signal",
            "spec.verify.service",
            "spec.verify.dependants[].signal",
            "spec.verify.dependants[].service",
        ],
        pattern: "^[A-Za-z0-9._:/-]+$",
        chars_max: 128,
    },
    Shape {
        paths: &[
            "spec.triggers[].for",
            "spec.triggers[].within",
            "spec.actions[].maxAge",
            "spec.actions[].rollback.maxAge",
            "spec.verify.window",
            "spec.verify.within",
            "spec.revertAfter",
        ],
        pattern: "^(0|([0-9]{1,7}h)?([0-9]{1,8}m)?([0-9]{1,9}s)?)$",
        chars_max: 30,
    },
    Shape {
        paths: &["spec.allowedResources[].kind", "spec.writeTo[].resource.kind"],
        pattern: "^[A-Z][A-Za-z0-9]*$",
        chars_max: 63,
    },
    Shape {
        paths: &["spec.allowedResources[].name", "spec.writeTo[].resource.name"],
        pattern: "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        chars_max: 253,
    },
    Shape { paths: &["spec.allowedPaths[]"], pattern: concat!("^", path_pattern!(), "/?$"), chars_max: 1025 },
    Shape { paths: &["spec.writeTo[].file"], pattern: concat!("^", path_pattern!(), "$"), chars_max: 1024 },
    Shape { paths: &["spec.writeTo[].path"], pattern: ".", chars_max: 1024 },
    Shape {
        paths: &[
            "spec.triggers[].above",
            "spec.triggers[].below",
            "spec.triggers[].probability",
            "spec.verify.below",
        ],
        pattern: super::quantity::PATTERN,
        chars_max: 40,
    },
];

const A_DAY: &str = "from 0s to 24h";
const A_WINDOW: &str = "from 1s to 24h";
const A_MONTH: &str = "from 1s to 720h";
const NOT_GIT: &str = "!self.matches('(?i)(^|/)[.]git(/|$)')";
const GIT: &str = "no part of a path is '.git'";
const WITHIN_A_MONTH: &str = "duration(self) >= duration('1s') && duration(self) <= duration('720h')";
const WITHIN_A_DAY: &str = "duration(self) >= duration('1s') && duration(self) <= duration('24h')";

const RULES: &[Rule] = &[
    rule(
        "",
        "TARS-P015",
        "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.') && self.metadata.name != 'ledger'",
        "the name has at most 63 characters and no dot, and is not 'ledger'",
    ),
    rule(
        "spec",
        "TARS-P030",
        "!has(self.dryRun) || !self.dryRun || !has(self.mode) || self.mode == 'Observe'",
        "dryRun contradicts the mode",
    ),
    rule(
        "spec",
        "TARS-P032",
        "self.triggers.exists(it, it.type == 'anomaly' || it.type == 'forecast') || \
         (has(self.verify) && has(self.verify.signal) && has(self.verify.service))",
        "nothing says which signal shows recovery: add verify.signal and verify.service",
    ),
    rule(
        "spec",
        "TARS-P037",
        "!has(self.allowedPaths) || self.allowedPaths.size() == 0 || !has(self.writeTo) || \
         self.writeTo.all(it, self.allowedPaths.exists(path, \
         (it.file + '/').startsWith(path.endsWith('/') ? path : path + '/')))",
        "a file of writeTo is outside allowedPaths",
    ),
    rule(
        "spec.triggers[]",
        "TARS-P022",
        "self.type != 'anomaly' || (has(self.signal) && has(self.service) && \
         !has(self.query) && !has(self.alertname) && !has(self.labels) && \
         !(has(self.above) || has(self.below) || has(self.within) || has(self.probability)))",
        "an anomaly trigger has signal, service, threshold, minSeverity and for",
    ),
    rule(
        "spec.triggers[]",
        "TARS-P022",
        "self.type != 'promql' || (has(self.query) && !has(self.signal) && !has(self.service) && \
         !has(self.threshold) && !has(self.minSeverity) && !has(self.alertname) && !has(self.labels) && \
         !(has(self.above) || has(self.below) || has(self.within) || has(self.probability)))",
        "a promql trigger has query and for",
    ),
    rule(
        "spec.triggers[]",
        "TARS-P022",
        "self.type != 'forecast' || (has(self.signal) && has(self.service) && !has(self.threshold) && \
         !has(self.minSeverity) && !has(self.query) && !has(self.alertname) && !has(self.labels))",
        "a forecast trigger has signal, service, above or below, within, probability and for",
    ),
    rule(
        "spec.triggers[]",
        "TARS-P025",
        "self.type != 'forecast' || has(self.above) != has(self.below)",
        "a forecast trigger has one limit: above, or below",
    ),
    rule(
        "spec.triggers[]",
        "TARS-P026",
        "!has(self.probability) || (quantity(string(self.probability)).isGreaterThan(quantity('0.5')) && \
         quantity(string(self.probability)).compareTo(quantity('0.98')) <= 0)",
        "a probability is more than 0.5 and at most 0.98",
    ),
    rule(
        "spec.triggers[].within",
        "TARS-P016",
        "duration(self) >= duration('1m') && duration(self) <= duration('30m')",
        "from 1m to 30m",
    ),
    rule(
        "spec.triggers[]",
        "TARS-P022",
        "self.type != 'webhook' || (has(self.alertname) && !has(self.signal) && !has(self.service) && \
         !has(self.threshold) && !has(self.minSeverity) && !has(self.__for__) && !has(self.query) && \
         !(has(self.above) || has(self.below) || has(self.within) || has(self.probability)))",
        "a webhook trigger has alertname and labels",
    ),
    rule("spec.triggers[].for", "TARS-P016", "duration(self) <= duration('24h')", A_DAY),
    rule(
        "spec.actions[]",
        "TARS-P022",
        "self.type != 'ScaleOut' || !(has(self.rollback) || has(self.restartPod) || has(self.scope) || \
         has(self.maxAge) || has(self.maxPods))",
        "a ScaleOut has scaleOut, or step, factorPercent, queue and maxReplicas",
    ),
    rule(
        "spec.actions[]",
        "TARS-P022",
        "self.type != 'Rollback' || !(has(self.scaleOut) || has(self.restartPod) || has(self.step) || \
         has(self.factorPercent) || has(self.queue) || has(self.maxReplicas) || has(self.maxPods))",
        "a Rollback has rollback, or scope and maxAge",
    ),
    rule(
        "spec.actions[]",
        "TARS-P022",
        "self.type != 'RestartPod' || !(has(self.scaleOut) || has(self.rollback) || has(self.step) || \
         has(self.factorPercent) || has(self.queue) || has(self.maxReplicas) || has(self.scope) || \
         has(self.maxAge))",
        "a RestartPod has restartPod, or maxPods",
    ),
    rule(
        "spec.actions[]",
        "TARS-P023",
        "!(has(self.scaleOut) || has(self.rollback) || has(self.restartPod)) || !(has(self.step) || \
         has(self.factorPercent) || has(self.queue) || has(self.maxReplicas) || has(self.scope) || \
         has(self.maxAge) || has(self.maxPods))",
        "parameters stand in the block named after the type or beside it, not in both",
    ),
    rule("spec.actions[]", "TARS-P023", ONE_WAY, "keep one of step, factorPercent and queue"),
    rule("spec.actions[].scaleOut", "TARS-P023", ONE_WAY, "keep one of step, factorPercent and queue"),
    rule("spec.actions[]", "TARS-P024", FITS, "maxReplicas is smaller than step"),
    rule("spec.actions[].scaleOut", "TARS-P024", FITS, "maxReplicas is smaller than step"),
    rule("spec.actions[].maxAge", "TARS-P016", WITHIN_A_MONTH, A_MONTH),
    rule("spec.actions[].rollback.maxAge", "TARS-P016", WITHIN_A_MONTH, A_MONTH),
    rule(
        "spec.allowedResources[].name",
        "TARS-P015",
        "!self.contains('..')",
        "a name has no two dots in a row",
    ),
    rule(
        "spec.writeTo[].resource.name",
        "TARS-P015",
        "!self.contains('..')",
        "a name has no two dots in a row",
    ),
    rule("spec.allowedPaths[]", "TARS-P035", NOT_GIT, GIT),
    rule("spec.writeTo[].file", "TARS-P036", NOT_GIT, GIT),
    rule("spec.verify.window", "TARS-P016", WITHIN_A_DAY, A_WINDOW),
    rule("spec.verify.within", "TARS-P016", WITHIN_A_DAY, A_WINDOW),
    rule(
        "spec.verify",
        "TARS-P033",
        "duration(has(self.within) ? self.within : '20m') >= duration(has(self.window) ? self.window : '10m')",
        "within is shorter than window",
    ),
    rule("spec.revertAfter", "TARS-P016", WITHIN_A_MONTH, A_MONTH),
    rule("action.spec.action", "TARS-P050", IMMUTABLE, "an action is what it was proposed as"),
    rule("action.spec.incident", "TARS-P050", IMMUTABLE, "an action is what it was proposed as"),
    rule("action.spec.policy", "TARS-P050", IMMUTABLE, "an action is what it was proposed as"),
    rule("action.spec.target", "TARS-P050", IMMUTABLE, "an action is what it was proposed as"),
];

const ONE_WAY: &str = "[has(self.step), has(self.factorPercent), has(self.queue)].filter(it, it).size() <= 1";
const FITS: &str = "!has(self.step) || self.step <= (has(self.maxReplicas) ? self.maxReplicas : 10)";
const IMMUTABLE: &str = "self == oldSelf";
