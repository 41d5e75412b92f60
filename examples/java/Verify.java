// Tells whether a request comes from taskqueue: SIGNING_SECRET=whsec_… java Verify.java ID TIMESTAMP SIGNATURE < body

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Verify {
    static final long TOLERANCE = 300; // seconds

    /** The body must be as it came, and not parsed and written again. */
    static boolean genuine(String secret, String id, String timestamp, String signatures, byte[] body)
            throws Exception {
        if (!timestamp.matches("[0-9]{1,18}")) {
            return false;
        }
        if (Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(timestamp)) > TOLERANCE) {
            return false;
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret.replaceFirst("^whsec_", "")), "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        String expected = "v1," + Base64.getEncoder().encodeToString(mac.doFinal(body));
        boolean found = false;
        // Several, while the secret is changed.
        for (String given : signatures.split(" ")) {
            found |= MessageDigest.isEqual(given.getBytes(StandardCharsets.UTF_8), expected.getBytes());
        }
        return found;
    }

    public static void main(String[] given) throws Exception {
        byte[] body = System.in.readAllBytes();
        System.exit(genuine(System.getenv("SIGNING_SECRET"), given[0], given[1], given[2], body) ? 0 : 1);
    }
}
