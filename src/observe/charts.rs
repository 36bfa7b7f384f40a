//! Renders the charts of a repository with the real Helm. What the index lacks comes in; what Helm wrote goes
//! back into it. Without the program, every chart says so.

use std::ffi::OsString;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::layout::{HelmJob, HelmRenders, SetValue};
use crate::model::causes::causes;
use crate::outside::helm::{Helm, SetArgument, TemplateRun};

/// Most times that an answer raises new questions: the chart itself, every candidate for a place, one more try
/// each, the layer to write, and the result; doubled for charts that bring charts.
const ROUNDS_MAX: usize = 12;

/// Helm, or why there is none, and what it rendered so far. Clones share both.
#[derive(Debug, Clone)]
pub struct Charts {
    program: Arc<OsString>,
    /// Looked for when the first chart needs it.
    helm: Arc<OnceCell<Result<Helm, String>>>,
    renders: HelmRenders,
}

impl Charts {
    /// With the program at this name in `PATH`, or at this path.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        let program = Arc::new(program.into());
        Self { program, helm: Arc::default(), renders: HelmRenders::default() }
    }

    /// A handle on what is rendered, for [`crate::layout::Surroundings`].
    #[must_use]
    pub fn renders(&self) -> HelmRenders {
        self.renders.clone()
    }

    /// Calls `answer` until it asks for nothing that Helm has not rendered yet, and returns its last answer.
    pub async fn settle<T>(&self, mut answer: impl FnMut() -> T) -> T {
        for _ in 0..ROUNDS_MAX {
            let found = answer();
            let wanted = self.renders.take_wanted();
            if wanted.is_empty() {
                return found;
            }
            for job in wanted {
                self.render(&job).await;
            }
        }
        answer()
    }

    async fn render(&self, job: &HelmJob) {
        let open = || async {
            let found = Helm::open((*self.program).clone()).await;
            found.map_err(|error| causes(&error))
        };
        match self.helm.get_or_init(open).await {
            Ok(helm) => {
                let output = helm.template(&run(job)).await;
                self.renders.insert(job, output.as_deref().map_err(|error| causes(error)));
            }
            Err(why) => self.renders.insert(job, Err(why.clone())),
        }
    }
}

fn run(job: &HelmJob) -> TemplateRun {
    let set = |set: &SetValue| match set {
        SetValue::Typed(pair) => SetArgument::Typed(pair.clone()),
        SetValue::Text(pair) => SetArgument::Text(pair.clone()),
        SetValue::File { key, bytes } => SetArgument::File { key: key.clone(), bytes: bytes.clone() },
    };
    TemplateRun {
        files: job.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone())).collect(),
        values: job.values.clone(),
        sets: job.sets.iter().map(set).collect(),
        release: job.release.clone(),
        namespace: job.namespace.clone(),
        kube_version: job.kube_version.clone(),
        api_versions: job.api_versions.clone(),
        skip_schema: job.skip_schema,
    }
}
