# SPDX-License-Identifier: BSD-3-Clause
"""The surveys' packet schemas as tables of names and types: ZTF 4.02 and LSST 11.1.

Only what a writer needs: the documentation of the fields is the surveys' own. A type is a letter: `d`ouble,
`f`loat, `i`nt, `l`ong, `s`tring, `b`oolean, b`y`tes, `t`imestamp; `?` makes it nullable with the default
null, `~` nullable without a default.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Any

__all__ = ["LSST_SCHEMA_ID", "LSST_VERSION", "ZTF_VERSION", "lsst_schema", "ztf_schema"]

ZTF_VERSION = "4.02"
LSST_VERSION = "11.1"
LSST_SCHEMA_ID = 1101
"""Registry id of LSST's schema 11.1: 100 times the major version plus the minor."""

_TYPES: MappingProxyType[str, Any] = MappingProxyType(
    {
        "d": "double",
        "f": "float",
        "i": "int",
        "l": "long",
        "s": "string",
        "b": "boolean",
        "y": "bytes",
        "t": {"type": "long", "logicalType": "timestamp-micros"},
    }
)

_ZTF_IMAGE = """
diffmaglim:f? pdiffimfilename:s? programpi:s? programid:i
"""
_ZTF_MEASURED = """
chipsf:f? magap:f? sigmagap:f? distnr:f? magnr:f? sigmagnr:f? chinr:f? sharpnr:f? sky:f? magdiff:f? fwhm:f?
classtar:f? mindtoedge:f? magfromlim:f? seeratio:f? aimage:f? bimage:f? aimagerat:f? bimagerat:f? elong:f?
nneg:i? nbad:i? rb:f? ssdistnr:f? ssmagnr:f? ssnamenr:s? sumrat:f? magapbig:f? sigmagapbig:f?
"""
_ZTF_CANDIDATE = f"""
jd:d fid:i pid:l {_ZTF_IMAGE} candid:l isdiffpos:s tblid:l? nid:i? rcid:i? field:i? xpos:f? ypos:f? ra:d dec:d
magpsf:f sigmapsf:f {_ZTF_MEASURED} ranr:d decnr:d
sgmag1:f? srmag1:f? simag1:f? szmag1:f? sgscore1:f? distpsnr1:f? ndethist:i ncovhist:i jdstarthist:d?
jdendhist:d? scorr:d? tooflag:i? objectidps1:l? objectidps2:l? sgmag2:f? srmag2:f? simag2:f? szmag2:f?
sgscore2:f? distpsnr2:f? objectidps3:l? sgmag3:f? srmag3:f? simag3:f? szmag3:f? sgscore3:f? distpsnr3:f?
nmtchps:i rfid:l jdstartref:d jdendref:d nframesref:i rbversion:s dsnrms:f? ssnrms:f? dsdiff:f? magzpsci:f?
magzpsciunc:f? magzpscirms:f? nmatches:i clrcoeff:f? clrcounc:f? zpclrcov:f? zpmed:f? clrmed:f? clrrms:f?
neargaia:f? neargaiabright:f? maggaia:f? maggaiabright:f? exptime:f? drb:f? drbversion:s
"""
_ZTF_PRV_CANDIDATE = f"""
jd:d fid:i pid:l {_ZTF_IMAGE} candid:l~ isdiffpos:s~ tblid:l? nid:i? rcid:i? field:i? xpos:f? ypos:f? ra:d~
dec:d~ magpsf:f~ sigmapsf:f~ {_ZTF_MEASURED} ranr:d~ decnr:d~ scorr:d? magzpsci:f? magzpsciunc:f?
magzpscirms:f? clrcoeff:f? clrcounc:f? rbversion:s
"""
_ZTF_FP_HIST = """
field:i? rcid:i? fid:i pid:l rfid:l sciinpseeing:f? scibckgnd:f? scisigpix:f? magzpsci:f? magzpsciunc:f?
magzpscirms:f? clrcoeff:f? clrcounc:f? exptime:f? adpctdif1:f? adpctdif2:f? diffmaglim:f? programid:i jd:d
forcediffimflux:f? forcediffimfluxunc:f? procstatus:s? distnr:f? ranr:d decnr:d magnr:f? sigmagnr:f?
chinr:f? sharpnr:f?
"""

_LSST_BANDS = "ugrizy"
_LSST_SOURCE = """
diaSourceId:l visit:l detector:i diaObjectId:l? ssObjectId:l? parentDiaSourceId:l? midpointMjdTai:d
exposureTime:f? ra:d raErr:f? dec:d decErr:f? ra_dec_Cov:f? x:f xErr:f? y:f yErr:f? centroid_flag:b?
apFlux:f? apFluxErr:f? apFlux_flag:b? apFlux_flag_apertureTruncated:b? isNegative:b? snr:f? psfFlux:f?
psfFluxErr:f? psfLnL:f? psfChi2:f? psfNdata:i psfFlux_flag:b? psfFlux_flag_edge:b?
psfFlux_flag_noGoodPixels:b? trailFlux:f? trailFluxErr:f? trailRa:d? trailRaErr:f? trailDec:d?
trailDecErr:f? trailLength:f? trailLengthErr:f? trailAngle:f? trailAngleErr:f? trailChi2:f? trailNdata:i
trailAlgorithm:i? trail_flag_edge:b? trail_flag:b? dipoleMeanFlux:f? dipoleMeanFluxErr:f? dipoleFluxDiff:f?
dipoleFluxDiffErr:f? dipoleLength:f? dipoleAngle:f? dipoleChi2:f? dipoleNdata:i scienceFlux:f?
scienceFluxErr:f? forced_PsfFlux_flag:b? forced_PsfFlux_flag_edge:b? forced_PsfFlux_flag_noGoodPixels:b?
templateFlux:f? templateFluxErr:f? ixx:f? iyy:f? ixy:f? ixxPSF:f? iyyPSF:f? ixyPSF:f? shape_flag:b?
shape_flag_no_pixels:b? shape_flag_not_contained:b? shape_flag_parent_source:b? extendedness:f?
reliability:f? reliabilityVersion:s? band:s? isDipole:b? dipoleFitAttempted:b? timeProcessedMjdTai:d
timeWithdrawnMjdTai:d? bboxSize:i pixelFlags:b? pixelFlags_bad:b? pixelFlags_cr:b? pixelFlags_crCenter:b?
pixelFlags_edge:b? pixelFlags_nodata:b? pixelFlags_nodataCenter:b? pixelFlags_interpolated:b?
pixelFlags_interpolatedCenter:b? pixelFlags_offimage:b? pixelFlags_saturated:b?
pixelFlags_saturatedCenter:b? pixelFlags_suspect:b? pixelFlags_suspectCenter:b? pixelFlags_streak:b?
pixelFlags_streakCenter:b? pixelFlags_injected:b? pixelFlags_injectedCenter:b?
pixelFlags_injected_template:b? pixelFlags_injected_templateCenter:b? glint_trail:b?
"""
_LSST_FORCED = """
diaForcedSourceId:l diaObjectId:l ra:d dec:d visit:l detector:i psfFlux:f? psfFluxErr:f? midpointMjdTai:d
scienceFlux:f? scienceFluxErr:f? band:s? timeProcessedMjdTai:d timeWithdrawnMjdTai:d?
"""
_LSST_OBJECT = (
    "diaObjectId:l validityStartMjdTai:d ra:d raErr:f? dec:d decErr:f? ra_dec_Cov:f? "
    + " ".join(
        f"{band}_psfFluxMean:f? {band}_psfFluxMeanErr:f? {band}_psfFluxSigma:f? {band}_psfFluxNdata:i "
        f"{band}_fpFluxMean:f? {band}_fpFluxMeanErr:f?"
        for band in _LSST_BANDS
    )
    + " "
    + " ".join(f"{band}_scienceFluxMean:f? {band}_scienceFluxMeanErr:f?" for band in _LSST_BANDS)
    + " "
    + " ".join(
        f"{band}_psfFluxMin:f? {band}_psfFluxMax:f? {band}_psfFluxMaxSlope:f? {band}_psfFluxErrMean:f?"
        for band in _LSST_BANDS
    )
    + " firstDiaSourceMjdTai:d? lastDiaSourceMjdTai:d? nDiaSources:i"
)
_LSST_SS_SOURCE = """
diaSourceId:l ssObjectId:l designation:s? eclLambda:d eclBeta:d galLon:d galLat:d elongation:f?
phaseAngle:f? topoRange:f? topoRangeRate:f? helioRange:f? helioRangeRate:f? ephRa:d? ephDec:d? ephVmag:f?
ephRate:f? ephRateRa:f? ephRateDec:f? ephOffset:f? ephOffsetRa:d? ephOffsetDec:d? ephOffsetAlongTrack:f?
ephOffsetCrossTrack:f? helio_x:f? helio_y:f? helio_z:f? helio_vx:f? helio_vy:f? helio_vz:f? helio_vtot:f?
topo_x:f? topo_y:f? topo_z:f? topo_vx:f? topo_vy:f? topo_vz:f? topo_vtot:f? diaDistanceRank:i?
"""
_LSST_ORBIT = """
id:i designation:s packed_primary_provisional_designation:s unpacked_primary_provisional_designation:s
mpc_orb_jsonb:s? created_at:t? updated_at:t? orbit_type_int:i? u_param:i? nopp:i? arc_length_total:d?
arc_length_sel:d? nobs_total:i? nobs_total_sel:i? a:d? q:d? e:d? i:d? node:d? argperi:d? peri_time:d?
yarkovsky:d? srp:d? a1:d? a2:d? a3:d? dt:d? mean_anomaly:d? period:d? mean_motion:d? a_unc:d? q_unc:d?
e_unc:d? i_unc:d? node_unc:d? argperi_unc:d? peri_time_unc:d? yarkovsky_unc:d? srp_unc:d? a1_unc:d?
a2_unc:d? a3_unc:d? dt_unc:d? mean_anomaly_unc:d? period_unc:d? mean_motion_unc:d? epoch_mjd:d? h:d? g:d?
not_normalized_rms:d? normalized_rms:d? earth_moid:d? fitting_datetime:t?
"""


@cache
def ztf_schema() -> dict[str, Any]:
    """Return the schema of a ZTF alert packet, version 4.02."""
    cutout = _record("ztf.alert.cutout", _fields("fileName:s stampData:y"))
    return _record(
        "ztf.alert",
        [
            *_fields("schemavsn:s publisher:s objectId:s candid:l"),
            {"name": "candidate", "type": _record("ztf.alert.candidate", _fields(_ZTF_CANDIDATE))},
            _list("prv_candidates", _record("ztf.alert.prv_candidate", _fields(_ZTF_PRV_CANDIDATE))),
            _list("fp_hists", _record("ztf.alert.fp_hist", _fields(_ZTF_FP_HIST))),
            _optional("cutoutScience", cutout),
            _optional("cutoutTemplate", "ztf.alert.cutout"),
            _optional("cutoutDifference", "ztf.alert.cutout"),
        ],
    )


@cache
def lsst_schema() -> dict[str, Any]:
    """Return the schema of an LSST alert packet, version 11.1."""
    space = f"lsst.v{LSST_VERSION.replace('.', '_')}"
    return _record(
        f"{space}.alert",
        [
            *_fields("diaSourceId:l observation_reason:s? target_name:s?"),
            {"name": "diaSource", "type": _record(f"{space}.diaSource", _fields(_LSST_SOURCE))},
            _list("prvDiaSources", f"{space}.diaSource"),
            _list("prvDiaForcedSources", _record(f"{space}.diaForcedSource", _fields(_LSST_FORCED))),
            _optional("diaObject", _record(f"{space}.diaObject", _fields(_LSST_OBJECT))),
            _optional("ssSource", _record(f"{space}.ssSource", _fields(_LSST_SS_SOURCE))),
            _optional("mpc_orbits", _record(f"{space}.mpc_orbits", _fields(_LSST_ORBIT))),
            *_fields("cutoutDifference:y? cutoutScience:y? cutoutTemplate:y?"),
        ],
    )


def _fields(table: str) -> list[dict[str, Any]]:
    return [_field(entry) for entry in table.split()]


def _field(entry: str) -> dict[str, Any]:
    name, letters = entry.split(":")
    plain = _TYPES[letters[0]]
    if letters.endswith("?"):
        return _optional(name, plain)
    return {"name": name, "type": ["null", plain] if letters.endswith("~") else plain}


def _record(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": fields}


def _optional(name: str, plain: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", plain], "default": None}


def _list(name: str, items: Any) -> dict[str, Any]:
    return _optional(name, {"type": "array", "items": items})
