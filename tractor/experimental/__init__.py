"""Things whose shape may still change between minor versions."""

from tractor.experimental._pubsub import msgpub as msgpub
