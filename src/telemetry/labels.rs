//! The values that labels of tars' metrics may have. In go enums, out come the words of the catalogue; what is not listed here
//! becomes no series.

macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($variant,)* }

        impl $name {
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

label_values!(
    /// What became of a remediation that was considered.
    Decided {
        Observed = "observed",
        Proposed = "proposed",
        AutoMerged = "auto_merged",
    }
);
label_values!(
    /// How a remediation ended.
    Ended {
        Verified = "verified",
        Failed = "failed",
        Reverted = "reverted",
        SelfRecovered = "self_recovered",
        Rejected = "rejected",
        Unknown = "unknown",
    }
);
label_values!(
    /// Which part of one reconcile failed.
    Stage {
        Fetch = "fetch",
        Observe = "observe",
        Propose = "propose",
        Ledger = "ledger",
    }
);
label_values!(
    /// How one push of the ledger ended.
    Push { Accepted = "accepted", Rejected = "rejected", Unknown = "unknown", Failed = "failed", }
);

impl Push {
    /// How one ended of which no more is asked.
    #[must_use]
    pub fn of<E>(outcome: &Result<(), E>) -> Self {
        if outcome.is_ok() { Self::Accepted } else { Self::Failed }
    }
}

label_values!(
    /// Which budget a line is about.
    Budget {
        PolicyPerHour = "policy_per_hour",
        GlobalPerHour = "global_per_hour",
        OpenProposals = "open_proposals",
    }
);
label_values!(
    /// What became of one alert of a webhook message.
    Received {
        Firing = "firing",
        Resolved = "resolved",
        Repeated = "repeated",
        Refused = "refused",
        Shed = "shed",
    }
);
label_values!(
    /// The products that are asked.
    ForgeProduct { Gitea = "gitea", GitHub = "github", GitLab = "gitlab", }
);
label_values!(
    /// How one request to a forge ended: the statuses that forges give, and two words.
    ForgeAnswer {
        Ok = "200",
        Created = "201",
        NoContent = "204",
        NotModified = "304",
        BadRequest = "400",
        Unauthorized = "401",
        Forbidden = "403",
        NotFound = "404",
        NotAllowed = "405",
        Conflict = "409",
        Unprocessable = "422",
        TooMany = "429",
        Failed = "500",
        BadGateway = "502",
        Unavailable = "503",
        GatewayTimeout = "504",
        Other = "other",
        None = "none",
    }
);

impl ForgeAnswer {
    /// `None`: there was no answer.
    #[must_use]
    pub fn of(status: Option<u16>) -> Self {
        let Some(status) = status else { return Self::None };
        match status {
            200 => Self::Ok,
            201 => Self::Created,
            204 => Self::NoContent,
            304 => Self::NotModified,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::NotAllowed,
            409 => Self::Conflict,
            422 => Self::Unprocessable,
            429 => Self::TooMany,
            500 => Self::Failed,
            502 => Self::BadGateway,
            503 => Self::Unavailable,
            504 => Self::GatewayTimeout,
            _ => Self::Other,
        }
    }
}

label_values!(
    /// What became of one sample that was pushed here.
    Pushed {
        Kept = "kept",
        Unwatched = "unwatched",
        OutOfOrder = "out_of_order",
        Repeated = "repeated",
        Late = "late",
        Ahead = "ahead",
        NoRoom = "no_room",
        Refused = "refused",
        Histogram = "histogram",
    }
);
label_values!(
    /// What became of one message of remote write.
    Written {
        Taken = "taken",
        Refused = "refused",
        Malformed = "malformed",
        TooLarge = "too_large",
        TooSlow = "too_slow",
        OtherType = "other_type",
        Unauthorized = "unauthorized",
        Shed = "shed",
    }
);
label_values!(
    /// Why nothing is known of a signal now.
    Unavailable {
        Failed = "failed",
        Empty = "empty",
    }
);
