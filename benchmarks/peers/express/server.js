// The peer in Node: Express and pg, with the same work as the others.
"use strict";
const crypto = require("node:crypto");
const express = require("express");
const { Pool } = require("pg");

const secret = process.env.PEER_SECRET;
const pool = new Pool({ host: process.env.PEER_HOST, user: "perfsee", database: "postgres", max: 8 });
const insert =
  "INSERT INTO peers_row (delivery_id, event_type, project, body, received_at)" +
  " VALUES ($1, $2, $3, $4, $5)";

const app = express();
app.disable("x-powered-by");
app.post("/perfsee/webhook/", express.raw({ type: "*/*", limit: "10mb" }), async (request, answer) => {
  const made = "sha256=" + crypto.createHmac("sha256", secret).update(request.body).digest("hex");
  const sent = request.get("X-Perfsee-Signature-256") || "";
  if (sent.length !== made.length || !crypto.timingSafeEqual(Buffer.from(sent), Buffer.from(made))) {
    return answer.status(400).end();
  }
  const value = JSON.parse(request.body.toString());
  await pool.query({
    name: "insert",
    text: insert,
    values: [
      request.get("X-Perfsee-Delivery"), value.eventType, value.payload.data.project.id,
      request.body, new Date(),
    ],
  });
  answer.status(204).end();
});
app.listen(Number(process.env.PORT), "127.0.0.1");
