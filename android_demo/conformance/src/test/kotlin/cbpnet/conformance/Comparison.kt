package cbpnet.conformance

import cbpnet.core.FloatTensor
import cbpnet.core.Json
import cbpnet.core.JsonArray
import cbpnet.core.JsonNull
import cbpnet.core.JsonNumber
import cbpnet.core.JsonObject
import cbpnet.core.JsonText
import cbpnet.core.LearningSession
import cbpnet.core.Prediction
import cbpnet.core.Safetensors
import cbpnet.core.StoredTensor
import cbpnet.core.StoredType
import cbpnet.core.child
import cbpnet.core.children
import cbpnet.core.float
import cbpnet.core.get
import cbpnet.core.integerOrNull
import cbpnet.core.items
import cbpnet.core.parseJson
import cbpnet.core.text
import java.io.File
import kotlin.math.abs
import kotlin.math.sqrt
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue

/**
 * How far the two hosts are apart: the largest distance of two tensors over the length of Python's,
 * the largest difference of a probability, the largest of an unknown score over the threshold, and how
 * many answers name the same class and task.
 */
internal data class Distance(
    val state: Double,
    val probability: Double,
    val unknown: Double,
    val agreeing: Int,
    val answers: Int,
) {
    companion object {
        fun of(steps: List<Distance>) = Distance(
            steps.maxOf { it.state }, steps.maxOf { it.probability }, steps.maxOf { it.unknown },
            steps.sumOf { it.agreeing }, steps.sumOf { it.answers },
        )
    }
}

/** How far what a session knows, journal and all, and what it says is from what Python wrote down. */
internal fun distance(session: LearningSession, folder: File, state: String, recorded: List<JsonObject>): Distance {
    val expected = readTensors(File(folder, state))
    val found = Safetensors.parse(session.exportState())
    val (theirs, ours) = listOf(expected, found).map { parseJson(it.metadata.getValue("info")) }
    assertEquals(theirs["class_names"], ours["class_names"])
    val (wanted, journal) = listOf(theirs, ours).map { it.child("progress") }
    assertEquals(wanted["lessons"], journal["lessons"])
    assertEquals(comparable(wanted), comparable(journal))
    assertEquals(expected.tensors.keys, found.tensors.keys)
    val apart = expected.tensors.maxOf { (name, tensor) -> apart(name, tensor, found.tensors.getValue(name)) }
    return said(recorded, predict(session, folder, recorded)).copy(state = apart)
}

internal fun predict(session: LearningSession, folder: File, recorded: List<JsonObject>): List<Prediction> =
    recorded.map { json ->
        session.predict(listOf(PictureFile(File(folder, json.text("picture"))).decode())).single()
    }

/** Writes a state, and what this host says with it, for check_states.py. */
internal fun writeForPython(session: LearningSession, folder: File, name: String, recorded: List<JsonObject>) {
    val answers = recorded.zip(predict(session, folder, recorded)) { json, found ->
        JsonObject(
            "picture" to json["picture"],
            "label" to JsonText(found.best.label),
            "probability" to JsonNumber(found.best.probability.toString()),
        )
    }
    File(folder, "$name.safetensors").writeBytes(session.exportState())
    File(folder, "$name.json").writeText(JsonObject("answers" to JsonArray(answers)).toString())
}

internal fun apart(expected: FloatTensor, found: FloatTensor): Double {
    assertEquals(expected.shape, found.shape)
    return apart(expected.values.map(Float::toDouble), found.values.map(Float::toDouble))
}

/** The journal but for what two hosts do at another time, and what floats decide. */
private fun comparable(progress: JsonObject): Json {
    if ("journal" !in progress.entries) return JsonNull
    val journal = progress.child("journal")
    val events = journal.children("events").map { JsonObject(it.entries - setOf("id", "time", "accuracy")) }
    return JsonObject(journal.entries + ("events" to JsonArray(events)))
}

private fun apart(name: String, expected: StoredTensor, found: StoredTensor): Double {
    assertEquals(name, expected.type to expected.shape, found.type to found.shape)
    return when {
        expected.bytes.contentEquals(found.bytes) -> 0.0
        expected.type == StoredType.F32 -> apart(expected.floats(), found.floats())
        else -> {
            assertEquals(name, StoredType.F16, expected.type)
            val (theirs, ours) = listOf(expected, found).map { tensor -> tensor.halves().map { float(it).toDouble() } }
            apart(theirs, ours)
        }
    }
}

private fun apart(expected: List<Double>, found: List<Double>): Double {
    val distance = length(expected.zip(found, Double::minus))
    return if (distance == 0.0) 0.0 else distance / length(expected)
}

private fun length(values: List<Double>): Double = sqrt(values.sumOf { it * it })

private fun said(recorded: List<JsonObject>, predictions: List<Prediction>): Distance {
    var probability = 0.0
    var unknown = 0.0
    val agreeing = recorded.zip(predictions).count { (json, found) ->
        val expected = json.items("ranking").associate {
            val (label, value) = (it as JsonArray).items
            (label as JsonText).value to (value as JsonNumber).value
        }
        probability = maxOf(probability, found.ranking.maxOf { abs(it.probability - expected.getValue(it.label)) })
        val score = (json["unknown"] as? JsonNumber)?.value
        assertEquals(score == null, found.unlikeness == null)
        found.unlikeness?.let {
            assertTrue(it.threshold > 0)
            unknown = maxOf(unknown, abs(it.score - checkNotNull(score)) / it.threshold)
        }
        found.best.label == expected.keys.first() && found.task == integerOrNull(json["task"])
    }
    return Distance(0.0, probability, unknown, agreeing, recorded.size)
}
