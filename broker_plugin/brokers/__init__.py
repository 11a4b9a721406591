# SPDX-License-Identifier: BSD-3-Clause
"""Other brokers' plug-in points: each file turns what one broker hands over into packets, gives back verdicts.

No file here knows how to score. They put a survey's packet together again from the broker's tables
(`packets`), have it judged as `broker-plugin replay` would (`scoring`), and write down what the broker can
carry.
"""
