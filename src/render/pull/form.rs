//! How much a body shows. Forms from the whole to the least, in the order in which things are left out; the first
//! that fits the forge is sent. Numbers only: nothing is rendered here.

/// One form of a body. Lengths are those of the finished text, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The template's short or long arrangement.
    pub is_long: bool,
    pub has_chart: bool,
    pub has_models: bool,
    pub has_data: bool,
    /// Longest text in a cell or a line.
    pub inline_chars: usize,
    /// Longest value in a code span.
    pub code_chars: usize,
    /// Most rows of any list.
    pub rows: usize,
    /// Longest diff, bytes; the whole one is the commit.
    pub diff_bytes: usize,
    /// Most bars of a sparkline.
    pub bars: usize,
    /// What a reader misses, beside the form before it.
    pub left_out: &'static str,
}

/// What only a forge that draws misses.
pub const CHART: &str = "the chart";

/// Everything.
pub const WHOLE: Form = Form {
    is_long: true,
    has_chart: true,
    has_models: true,
    has_data: true,
    inline_chars: 400,
    code_chars: 240,
    rows: 12,
    diff_bytes: 16 << 10,
    bars: 40,
    left_out: "",
};

const CUT_ROWS: Form = Form {
    has_chart: false,
    has_models: false,
    rows: 4,
    diff_bytes: 2 << 10,
    left_out: "long lists",
    ..WHOLE
};

const SHORT: Form = Form {
    is_long: false,
    rows: 3,
    inline_chars: 160,
    code_chars: 80,
    diff_bytes: 1_000,
    bars: 24,
    left_out: "the other actions",
    ..CUT_ROWS
};

/// From the whole to the least.
pub const FORMS: [Form; 7] = [
    WHOLE,
    Form { has_chart: false, left_out: CHART, ..WHOLE },
    Form { has_chart: false, has_models: false, diff_bytes: 6 << 10, left_out: "model scores", ..WHOLE },
    CUT_ROWS,
    SHORT,
    Form { has_data: false, rows: 1, diff_bytes: 400, left_out: "all but one row of each list", ..SHORT },
    Form {
        has_data: false,
        rows: 1,
        diff_bytes: 0,
        inline_chars: 78,
        code_chars: 38,
        bars: 16,
        left_out: "the diff",
        ..SHORT
    },
];
