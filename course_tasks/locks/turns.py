"""The scripts of FairLock: whose turn it is, who waits, and how one takes, passes on and gives up a turn.

The lock's key holds the token of whoever has the turn or the lock; the queue is a list of the tokens of those who wait; and
for each of them there is a list by whose key it is called, the queue's with ``:<token>`` behind it.
"""

from course_tasks.locks.script import Script

# KEYS[1]: the lock. KEYS[2]: the queue. ARGV[1]: my token. ARGV[2]: milliseconds for which a turn is offered.
# ARGV[3]: milliseconds until the queue is forgotten.
# call_next() takes the lock from whoever has it, and offers it to the first in the queue, whose token it returns.
# With nobody in the queue the lock is free, and false is returned.
QUEUE = """
    local lock, queue, me, claim_within, keep = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
    local function call_next()
        local first = redis.call('lpop', queue)
        if first then
            redis.call('set', lock, first, 'PX', claim_within)
            redis.call('rpush', queue .. ':' .. first, 'your turn')
            redis.call('pexpire', queue .. ':' .. first, keep)
        else
            redis.call('del', lock)
        end
        return first
    end
"""

# As above, and ARGV[4]: the lease in milliseconds. ARGV[5]: how I ask. 'claim' takes the lock if it is my turn. 'try' and
# 'join' also where the lock is free and nobody waits; otherwise 'join' queues. Where the lock is free, the first is called.
# Returns 1 if the lock is mine, its lease starting now; otherwise nil.
ASK = Script(
    QUEUE
    + """
    local turn, how = redis.call('get', lock) or call_next(), ARGV[5]
    if turn == me or (not turn and how ~= 'claim') then
        redis.call('set', lock, me, 'PX', ARGV[4])
        redis.call('del', queue .. ':' .. me)
        return 1
    end
    if how == 'join' then
        redis.call('rpush', queue, me)
    end
    redis.call('pexpire', queue, keep)
    return false
"""
)

# KEYS and ARGV[1] as above. Changes nothing.
# Returns in how many milliseconds the lock's key expires (0: it has, or it is my turn; -1: never); nil if I don't wait.
LOOK = Script("""
    local turn = redis.call('get', KEYS[1])
    if turn == ARGV[1] then
        return 0
    end
    if not redis.call('lpos', KEYS[2], ARGV[1]) then
        return false
    end
    return turn and redis.call('pttl', KEYS[1]) or 0
""")

# KEYS and ARGV[1] to ARGV[3] as above. Hands the lock, or a turn, on if it is mine; takes me out of the queue if I wait.
# Returns 1 if it did one or the other, otherwise 0.
LEAVE = Script(
    QUEUE
    + """
    redis.call('del', queue .. ':' .. me)
    if redis.call('get', lock) == me then
        call_next()
        return 1
    end
    return redis.call('lrem', queue, 1, me)
"""
)
