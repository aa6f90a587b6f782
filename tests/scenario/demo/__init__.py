# SPDX-License-Identifier: Apache-2.0
"""The demonstration: real programs on two nodes, told and checked step by step."""
