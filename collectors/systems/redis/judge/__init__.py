"""What a Redis node's answers mean, judged against limits. Nothing here asks anything."""

from collectors.systems.redis.judge.replication import *
