package cbpnet.app

import android.content.Context
import android.util.AttributeSet
import android.view.LayoutInflater
import android.view.View
import android.widget.LinearLayout
import android.widget.ProgressBar
import android.widget.TextView
import cbpnet.core.RankedClass
import kotlin.math.roundToInt

/** The best classes with a bar each; a screen reader hears of a new best one. */
class RankingView(context: Context, attributes: AttributeSet) : LinearLayout(context, attributes) {
    private class Row(val view: View) {
        val name: TextView = view.view(R.id.ranking_name)
        val share: TextView = view.view(R.id.ranking_share)
        val bar: ProgressBar = view.view(R.id.ranking_bar)
    }

    private val rows: List<Row>

    init {
        orientation = VERTICAL
        rows = List(ROWS) {
            val view = LayoutInflater.from(context).inflate(R.layout.ranking_row, this, false)
            addView(view)
            Row(view)
        }
        rows.first().name.accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
        show(emptyList())
    }

    fun show(ranking: List<RankedClass>) {
        rows.forEachIndexed { place, row -> fill(row, ranking.getOrNull(place)) }
    }

    private fun fill(row: Row, found: RankedClass?) {
        row.view.visibility = if (found == null) View.INVISIBLE else View.VISIBLE
        if (found == null) return
        val percent = (found.probability * 100).roundToInt()
        // Only a new text is told to a screen reader, and this comes many times a second.
        if (row.name.text.toString() != found.label) row.name.text = found.label
        row.share.text = resources.getString(R.string.percent, percent)
        row.bar.progress = percent
    }

    private companion object {
        const val ROWS = 3
    }
}
