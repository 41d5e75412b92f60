<?php
// Tells whether a request comes from taskqueue: SIGNING_SECRET=whsec_… php verify.php ID TIMESTAMP SIGNATURE < body

const TOLERANCE = 300; // seconds

/** The body must be as it came (php://input), and not decoded and encoded again. */
function genuine(string $secret, string $id, string $timestamp, string $signatures, string $body): bool
{
    if (!preg_match('/^[0-9]{1,18}$/D', $timestamp) || abs(time() - (int) $timestamp) > TOLERANCE) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // Several, while the secret is changed.
    foreach (explode(' ', $signatures) as $given) {
        if (hash_equals($expected, $given)) {
            return true;
        }
    }
    return false;
}

[, $id, $timestamp, $signatures] = $argv;
$body = stream_get_contents(STDIN);
exit(genuine(getenv('SIGNING_SECRET'), $id, $timestamp, $signatures, $body) ? 0 : 1);
