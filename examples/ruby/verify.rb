# Tells whether a request comes from taskqueue: SIGNING_SECRET=whsec_… ruby verify.rb ID TIMESTAMP SIGNATURE < body
require "openssl"

TOLERANCE = 300 # seconds

# The body must be as it came, and not parsed and written again.
def genuine?(secret, id, timestamp, signatures, body)
  return false unless timestamp.match?(/\A\d+\z/) && (Time.now.to_i - timestamp.to_i).abs <= TOLERANCE

  key = secret.delete_prefix("whsec_").unpack1("m")
  mac = OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{timestamp}.".b + body)
  expected = "v1," + [mac].pack("m0")
  # Several, while the secret is changed.
  signatures.split.any? { |given| OpenSSL.secure_compare(given, expected) }
end

id, timestamp, signatures = ARGV
exit genuine?(ENV.fetch("SIGNING_SECRET"), id, timestamp, signatures, $stdin.binmode.read) ? 0 : 1
