//! `cess-gateway iam`: accounts, users, groups, roles, policies and access keys.
mod explain;
mod key;
mod policy;
mod render;
mod role;

use access::identity::{Answer, Order};
use anyhow::Result;
use clap::{Args, Subcommand};

use super::Target;

/// Who there is, and what they may do.
#[derive(Args)]
pub struct Iam {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Accounts: each owns buckets of its own.
    #[command(subcommand)]
    Account(Account),
    /// Users of an account: they may do what policies allow.
    #[command(subcommand)]
    User(User),
    /// Groups of users, who have the policies of the group.
    #[command(subcommand)]
    Group(Group),
    /// Access keys of users, and of an account itself.
    #[command(subcommand)]
    Key(key::Key),
    /// Policies, and what they are attached to.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Roles, which can be taken for a time (STS AssumeRole).
    #[command(subcommand)]
    Role(role::Role),
    /// Say whether somebody may do something, and which statement decides.
    Explain(explain::Explain),
}

/// Which account, and which gateway.
#[derive(Args)]
struct In {
    /// Name of the account; left out: the gateway's own.
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand)]
enum Account {
    /// Make an account. Give it an access key with `iam key create --account NAME`.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// List all.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Show one.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Delete one that owns nothing any more.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Subcommand)]
enum User {
    /// Make a user. It may do nothing until a policy is attached to it or to a group of it.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// List all.
    List {
        #[command(flatten)]
        within: In,
    },
    /// Show one.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// Delete one that has no access keys.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
}

#[derive(Subcommand)]
enum Group {
    /// Make a group.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// List all.
    List {
        #[command(flatten)]
        within: In,
    },
    /// Show one.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// Delete one without users.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// Put a user into it.
    Add {
        /// Its name.
        name: String,
        /// The user.
        user: String,
        #[command(flatten)]
        within: In,
    },
    /// Take a user out of it.
    Remove {
        /// Its name.
        name: String,
        /// The user.
        user: String,
        #[command(flatten)]
        within: In,
    },
}

impl Iam {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.what {
            What::Account(action) => account(action).await,
            What::User(action) => user(action).await,
            What::Group(action) => group(action).await,
            What::Key(action) => key::run(action).await,
            What::Policy(action) => policy::run(action).await,
            What::Role(action) => role::run(action).await,
            What::Explain(asked) => explain::run(asked).await,
        }
    }
}

async fn account(action: Account) -> Result<()> {
    match action {
        Account::Create { name, target } => show(&target, &Order::CreateAccount { name }, None).await,
        Account::List { target } => show(&target, &Order::ListAccounts, None).await,
        Account::Show { name, target } => show(&target, &Order::ListAccounts, Some(&name)).await,
        Account::Delete { name, target } => show(&target, &Order::DeleteAccount { name }, None).await,
    }
}

async fn user(action: User) -> Result<()> {
    match action {
        User::Create { name, within } => {
            within
                .show(|account| Order::CreateUser { account, name }, None)
                .await
        }
        User::List { within } => within.show(|account| Order::ListUsers { account }, None).await,
        User::Show { name, within } => {
            within
                .show(|account| Order::ListUsers { account }, Some(&name))
                .await
        }
        User::Delete { name, within } => {
            within
                .show(|account| Order::DeleteUser { account, name }, None)
                .await
        }
    }
}

async fn group(action: Group) -> Result<()> {
    match action {
        Group::Create { name, within } => {
            within
                .show(|account| Order::CreateGroup { account, name }, None)
                .await
        }
        Group::List { within } => within.show(|account| Order::ListGroups { account }, None).await,
        Group::Show { name, within } => {
            within
                .show(|account| Order::ListGroups { account }, Some(&name))
                .await
        }
        Group::Delete { name, within } => {
            within
                .show(|account| Order::DeleteGroup { account, name }, None)
                .await
        }
        Group::Add { name, user, within } => {
            let order = |account| Order::AddToGroup {
                account,
                group: name,
                user,
            };
            within.show(order, None).await
        }
        Group::Remove { name, user, within } => {
            let order = |account| Order::RemoveFromGroup {
                account,
                group: name,
                user,
            };
            within.show(order, None).await
        }
    }
}

impl In {
    /// Gives the order and shows the answer, or only what has the name `one` in it.
    async fn show(self, order: impl FnOnce(Option<String>) -> Order, one: Option<&str>) -> Result<()> {
        show(&self.target, &order(self.account), one).await
    }
}

async fn ask(target: &Target, order: &Order) -> Result<Answer> {
    target.client()?.post("/v1/iam", order).await
}

async fn show(target: &Target, order: &Order, one: Option<&str>) -> Result<()> {
    let mut answer = ask(target, order).await?;
    if let Some(name) = one {
        answer = render::only(answer, name)?;
    }
    print(target, &answer)
}

fn print(target: &Target, answer: &Answer) -> Result<()> {
    if target.json {
        println!("{}", serde_json::to_string(answer)?);
    } else {
        print!("{}", render::text(answer));
    }
    Ok(())
}
