// Tells whether a request comes from taskqueue: SIGNING_SECRET=whsec_… node verify.mjs ID TIMESTAMP SIGNATURE < body
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

const TOLERANCE = 300; // seconds

/** The body must be as it came, and not parsed and written again. */
export function genuine(secret, id, timestamp, signatures, body) {
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = Buffer.from(
    "v1," + createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64"),
  );
  // Several, while the secret is changed.
  return signatures.split(" ").some((each) => {
    const given = Buffer.from(each);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const [id, timestamp, signatures] = process.argv.slice(2);
process.exit(genuine(process.env.SIGNING_SECRET, id, timestamp, signatures, readFileSync(0)) ? 0 : 1);
