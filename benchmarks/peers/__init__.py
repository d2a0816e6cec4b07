"""One module a contestant: its tasks, and how its own documentation says to send them and to run its workers.

A module here is imported in the contestant's own environment, by its worker and by the driver of a measure, so it
imports nothing of the tool but `benchmarks.slots` and `benchmarks.peers.surroundings`. It offers what its library does;
a measure whose function is missing is "not offered":

    workers(n) -> [[argument, ...], ...]    the commands of a worker with `n` processes
    parallel() -> int                       tasks that it runs at once with two processes; 2 unless it says so
    send(i)                                 one call of the no-op task, with a stored result
    send_each(n)                            the same for 0 ... n - 1, where a loop over `send` is not the usual way
    send_many(first, n)                     n calls in the way meant for many
    send_naps(n, seconds)                   n tasks that wait
    send_text(i, text)                      one call with a larger argument
    call(i)                                 send, and wait for the result
    chord(n)                                n no-ops (slots 0 ... n - 1), then a body that stamps slot n
    chain(n)                                n links that stamp 0 ... n - 1
    stored(n) -> bool                       whether the outcomes of all n are stored
    send_mixed(i, fails)                    one of two queues and three priorities by `i`; fails once where told
    claims(n) -> [seconds, ...]             n claims of one task, without a worker
    own_<measure>(**sizes) -> figures       a measure of its own way
"""
