//! Asks the admin API of a running gateway.
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::model::Failure;
use crate::data_dir::AdminAddress;

/// A client of one gateway.
pub struct Client {
    http: reqwest::Client,
    address: AdminAddress,
}

impl Client {
    /// Talks to the gateway at `address`.
    pub fn new(address: AdminAddress) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // A proxy of the environment cannot reach this machine's loopback, and would see the token.
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { http, address })
    }

    /// `GET path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        response
            .json()
            .await
            .context("the gateway's answer makes no sense to this version")
    }

    /// `POST path`, for the answer.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        response
            .json()
            .await
            .context("the gateway's answer makes no sense to this version")
    }

    /// `POST path`, for an answer of one JSON object a line, each of which `line` gets as it comes.
    pub async fn follow<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        mut line: impl FnMut(T),
    ) -> Result<()> {
        let mut response = self.send(Method::POST, path, Some(body)).await?;
        let mut waiting = Vec::new();
        while let Some(some) = response.chunk().await.context("the gateway stopped to answer")? {
            waiting.extend_from_slice(&some);
            while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                let rest = waiting.split_off(end + 1);
                let text = std::mem::replace(&mut waiting, rest);
                line(
                    serde_json::from_slice(&text)
                        .context("the gateway's answer makes no sense to this version")?,
                );
            }
        }
        Ok(())
    }

    /// `POST path`, for its effect.
    pub async fn act(&self, path: &str, body: &impl Serialize) -> Result<()> {
        self.send(Method::POST, path, Some(body)).await.map(drop)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Response> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.address.url))
            .bearer_auth(&self.address.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("no gateway answers at {}", self.address.url))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match response.json::<Failure>().await {
            Ok(failure) => bail!("{}", failure.error),
            Err(_) => bail!("the gateway answered {status}"),
        }
    }
}
