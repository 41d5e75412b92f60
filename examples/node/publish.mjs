// Sends two tasks: one with a countdown, one straight onto the ladder. npm install amqplib
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";

const amqp = createRequire(import.meta.url)("amqplib");
const queue = process.argv[2] ?? "default";
const connection = await amqp.connect(process.env.AMQP_URL ?? "amqp://guest:guest@localhost");
const channel = await connection.createConfirmChannel();
const trouble = [];
channel.on("return", (message) => trouble.push(message.fields.replyText));
channel.on("error", (error) => trouble.push(error.message)); // no such exchange

function publish(exchange, key, message, headers = {}) {
  channel.publish(exchange, key, Buffer.from(message), {
    persistent: true,
    mandatory: true,
    contentType: "application/json",
    messageId: randomUUID(),
    timestamp: Math.floor(Date.now() / 1000),
    headers,
  });
}

publish("", queue, '{"url": "/welcome", "payload": {"user": 7}, "countdown": 20, "max_retries": 5}');
publish(`${queue}.wait`, "in>20s", '{"url": "/reminder", "payload": {"user": 7}}', {
  CC: [`10s>due:${queue}`],
});
await channel.waitForConfirms().catch((error) => trouble.push(error.message));
await connection.close();
if (trouble.length > 0) {
  console.error(`not sent: ${trouble[0]} (is ${queue} declared?)`);
  process.exit(1);
}
