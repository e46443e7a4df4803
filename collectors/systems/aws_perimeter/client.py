"""Reads security groups, web ACLs and Shield from AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectors.systems.aws.client import Aws, AwsError
from collectors.systems.aws_perimeter.model import Group, Protection, Rule, SecurityGroups, WebAcl
from exporter.verdict import Reason

__all__ = ["fetch_groups", "fetch_protection"]

_TCP = ("tcp", "6")
_ALL = "-1"
_ACTING = ("Block", "Captcha", "Challenge")
_AGAINST_FLOODS = "AWSManagedRulesAntiDDoSRuleSet"


async def fetch_groups(aws: Aws, options: SecurityGroups) -> list[Group]:
    """The security groups of the region, or of some VPCs. Raises AwsError, and ProbeError without an answer."""
    chosen: dict[str, Any] = {"Filters": [{"Name": "vpc-id", "Values": list(options.vpcs)}]} if options.vpcs else {}
    described = await aws.pages("ec2", "describe_security_groups", "SecurityGroups", **chosen)
    interfaces = await aws.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", **chosen)
    used = {group["GroupId"] for interface in interfaces for group in interface.get("Groups") or ()}
    permissions = [rule for group in described for rule in group.get("IpPermissions") or ()]
    names = {one["PrefixListId"] for rule in permissions for one in rule.get("PrefixListIds") or ()}
    lists = {name: await _entries(aws, name) for name in sorted(names)}
    return [
        Group(
            group["GroupId"],
            group.get("GroupName", ""),
            group["GroupId"] in used,
            tuple(
                _rule(rule, lists) for rule in group.get("IpPermissions") or () if rule["IpProtocol"] in (*_TCP, _ALL)
            ),
        )
        for group in described
    ]


async def _entries(aws: Aws, prefix_list: str) -> list[str]:
    entries = await aws.pages("ec2", "get_managed_prefix_list_entries", "Entries", PrefixListId=prefix_list)
    return [one["Cidr"] for one in entries]


def _rule(rule: Mapping[str, Any], lists: Mapping[str, list[str]]) -> Rule:
    everything = rule["IpProtocol"] == _ALL
    networks = [one["CidrIp"] for one in rule.get("IpRanges") or ()]
    networks += [one["CidrIpv6"] for one in rule.get("Ipv6Ranges") or ()]
    for one in rule.get("PrefixListIds") or ():
        networks += lists[one["PrefixListId"]]
    first, last = (0, 65535) if everything else (rule.get("FromPort", 0), rule.get("ToPort", 65535))
    return Rule(first, last, tuple(networks))


async def fetch_protection(aws: Aws, resource: str) -> Protection:
    """What protects a resource, by its ARN: its web ACL, where it can have one, and Shield Advanced.

    Raises AwsError, and ProbeError without an answer.
    """
    acl = None
    if ":cloudfront:" not in resource:  # a distribution names its web ACL itself
        acl = (await aws.call("wafv2", "get_web_acl_for_resource", ResourceArn=resource)).get("WebACL")
    shielded, until = await _shielded(aws, resource)
    return Protection(resource, _web_acl(acl) if acl else None, shielded, until)


async def _shielded(aws: Aws, resource: str) -> tuple[bool, Any]:
    try:
        await aws.call("shield", "describe_protection", ResourceArn=resource)
        subscription = (await aws.call("shield", "describe_subscription"))["Subscription"]
    except AwsError as error:
        if error.reason is Reason.MISSING:
            return False, None
        raise
    renewed = subscription.get("AutoRenew") == "ENABLED"
    return True, None if renewed else subscription.get("EndTime")


def _web_acl(acl: Mapping[str, Any]) -> WebAcl:
    blocking, counting, unclear, loose = [], [], [], []
    let_through = False
    for rule in sorted(acl.get("Rules") or (), key=lambda one: one.get("Priority", 0)):
        name, statement = rule.get("Name", ""), rule.get("Statement") or {}
        counts = "Count" in (rule.get("OverrideAction") or rule.get("Action") or {})
        by_rate = statement.get("RateBasedStatement")
        managed = (statement.get("ManagedRuleGroupStatement") or {}).get("Name") == _AGAINST_FLOODS
        if by_rate is None and not managed:
            if "RuleGroupReferenceStatement" in statement and not counts:
                unclear.append(name)
            let_through |= "Allow" in (rule.get("Action") or {}) and "IPSetReferenceStatement" not in statement
        elif counts:
            counting.append(name)
        elif let_through or _is_partial(by_rate, statement):
            unclear.append(name)
        elif by_rate is not None and by_rate.get("Limit", 0) > _MOST_REQUESTS:
            loose.append(name)
        elif managed or any(action in (rule.get("Action") or {}) for action in _ACTING):
            blocking.append(name)
    return WebAcl(acl.get("Name", ""), tuple(blocking), tuple(counting), tuple(unclear), tuple(loose))


_MOST_REQUESTS = 1_000_000
"""From one address within the window of a rule (five minutes by default): beyond that, no origin is protected by it."""


def _is_partial(by_rate: Mapping[str, Any] | None, statement: Mapping[str, Any]) -> bool:
    """Whether a rule limits some requests only, or by what callers choose, or has rules of its group that only count."""
    if by_rate is None:
        overrides = statement["ManagedRuleGroupStatement"].get("RuleActionOverrides") or ()
        return any("Count" in (one.get("ActionToUse") or {}) for one in overrides)
    return "ScopeDownStatement" in by_rate or by_rate.get("AggregateKeyType", "IP") != "IP"
