-- What wrk has counted, as the last line of its output, for the harness.

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"operations": %d, "errors": %d, "seconds": %f}\n',
    summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    summary.duration / 1e6
  ))
end
