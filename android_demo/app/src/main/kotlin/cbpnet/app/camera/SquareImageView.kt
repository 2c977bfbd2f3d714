package cbpnet.app.camera

import android.content.Context
import android.util.AttributeSet
import android.widget.ImageView

/** An image as high as wide, in whatever room it gets. */
class SquareImageView(context: Context, attributes: AttributeSet) : ImageView(context, attributes) {
    override fun onMeasure(widthMeasureSpec: Int, heightMeasureSpec: Int) {
        val width = MeasureSpec.getSize(widthMeasureSpec)
        val height = MeasureSpec.getSize(heightMeasureSpec)
        val unbounded = MeasureSpec.getMode(heightMeasureSpec) == MeasureSpec.UNSPECIFIED
        val side = if (unbounded) width else minOf(width, height)
        setMeasuredDimension(side, side)
    }
}
